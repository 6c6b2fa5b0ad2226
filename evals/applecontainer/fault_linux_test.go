package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
)

// arm arms a fault for the next call of a command.
func arm(t *testing.T, w *world.World, n faults.Next) {
	t.Helper()
	data, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	w.SetFault(t, world.FaultNext, string(data))
}

func TestNextFaults(t *testing.T) {
	w := enter(t)
	exists := func(name string) bool {
		return strings.Contains(must(t, "network", "list", "--format", "json"), `"id":"`+name+`"`)
	}
	create := []string{"network", "create", "one"}
	tests := map[faults.Action]struct {
		effect bool
		check  func(result) bool
	}{
		faults.Fail:      {false, func(r result) bool { return r.code == 1 && r.out == "" && strings.HasPrefix(r.complaint, "Error: ") }},
		faults.Kill:      {false, func(r result) bool { return r.code == 137 && r.out == "" }},
		faults.KillAfter: {true, func(r result) bool { return r.code == 137 && r.out == "" }},
		faults.Garbage:   {true, func(r result) bool { return r.code == 0 && r.out != "one\n" && r.out != "" }},
		faults.Truncate:  {true, func(r result) bool { return r.code == 0 && r.out == "on" }},
	}
	for action, test := range tests {
		t.Run(string(action), func(t *testing.T) {
			t.Cleanup(func() { clean(t, "network", "delete", "one") })
			arm(t, w, faults.Next{Match: "network create", Action: action})
			must(t, "network", "list") // another command does not count
			// A shell turns the signal into a status.
			r := shell(t, create...)
			if !test.check(r) || exists("one") != test.effect {
				t.Errorf("exit %d, stdout %q, stderr %q, made: %t", r.code, r.out, r.complaint, !test.effect)
			}
			must(t, "network", "list") // it is used up
		})
	}
	t.Run("skip", func(t *testing.T) {
		arm(t, w, faults.Next{Match: "network", Skip: 2, Action: faults.Fail})
		must(t, "network", "list")
		must(t, "network", "list")
		refuses(t, "internalError", "network", "list")
	})
	t.Run("hang and endless", func(t *testing.T) {
		for _, action := range []faults.Action{faults.Hang, faults.Endless} {
			arm(t, w, faults.Next{Action: action})
			cmd := exec.CommandContext(t.Context(), "container", "network", "list")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if action == faults.Endless {
				for range 1000 {
					if _, err := out.Read(make([]byte, 4096)); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(100 * time.Millisecond)
			if err := cmd.Process.Kill(); err != nil {
				t.Errorf("%s ended by itself: %v", action, err)
			}
			_ = cmd.Wait()
		}
	})
	t.Run("kill-parent", func(t *testing.T) {
		t.Cleanup(func() { clean(t, "network", "delete", "one") })
		arm(t, w, faults.Next{Match: "network create", Action: faults.KillParent})
		// The shell is the caller: it dies and never says a word.
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "container network create one; echo survived")
		out, _ := cmd.Output()
		if string(out) != "" || !exists("one") {
			t.Errorf("the caller printed %q, made: %t", out, exists("one"))
		}
	})
}

// shell runs the program below a shell and returns the status that it sees.
func shell(t *testing.T, argv ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `container "$@"; exit $?`, "sh"}, argv...)...)
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	_ = cmd.Run()
	return result{out.String(), complaint.String(), cmd.ProcessState.ExitCode()}
}

func TestServiceDown(t *testing.T) {
	w := enter(t)
	w.SetFault(t, faults.ServiceDown, "")
	r := container(t, "system", "status", "--format", "json")
	if r.code != 1 || !strings.Contains(valid(t, "system status --format json", r.out), `"status":"unregistered"`) {
		t.Errorf("exit %d, %s", r.code, r.out)
	}
	refuses(t, "XPC connection error", "list", "--format", "json")
	refuses(t, "container system start", "network", "create", "one")
	if got := valid(t, "system version --format json", must(t, "system", "version", "--format", "json")); strings.Contains(got, "apiserver") {
		t.Errorf("the daemon tells its version: %s", got)
	}
	must(t, "system", "start")
	if got := valid(t, "system status --format json", must(t, "system", "status", "--format", "json")); !strings.Contains(got, `"status":"running"`) {
		t.Errorf("started: %s", got)
	}
}

func TestReleases(t *testing.T) {
	w := enter(t)
	guest(t, "box", "--network", "none")
	if got := must(t, "--version"); got != "container CLI version 1.2.2 (build: release, commit: 0190097)\n" {
		t.Errorf("the version is %q", got)
	}
	t.Run("1.0.0", func(t *testing.T) {
		w.SetFault(t, faults.Version, "1.0.0")
		if r := container(t, "run", "-d", "--masked-path", "/x", "--", world.AgentImage); r.code != 64 {
			t.Errorf("an option of 1.2.1: exit %d", r.code)
		}
		if got := must(t, "--version"); !strings.Contains(got, "version 1.0.0 ") {
			t.Errorf("the version is %q", got)
		}
	})
	t.Run("before 1.0.0", func(t *testing.T) {
		w.SetFault(t, faults.JSONShape, faults.ShapePre10)
		if got := must(t, "list", "--format", "json"); !strings.Contains(got, `"status":"running"`) {
			t.Errorf("the state is no word: %s", got)
		}
		if got := must(t, "inspect", "nobody"); strings.TrimSpace(strings.ReplaceAll(got, "\n", "")) != "[]" {
			t.Errorf("a missing one is %q", got)
		}
	})
	t.Run("1.3", func(t *testing.T) {
		w.SetFault(t, faults.JSONShape, faults.Shape13)
		got := must(t, "system", "status", "--format", "json")
		if valid(t, "system status --format json, 1.3.0", got); !strings.Contains(got, `"containersRunning":1`) {
			t.Errorf("the status is %s", got)
		}
	})
}

func TestOtherFaults(t *testing.T) {
	w := enter(t)
	network(t, "one")
	network(t, "two", "--internal")
	t.Run("second network", func(t *testing.T) {
		w.SetFault(t, faults.SecondNetwork, "")
		refuses(t, "unsupported", "run", "-d", "--name", "box", "--network", "one", "--network", "two", "--", world.AgentImage)
		refuses(t, "notFound", "inspect", "box")
	})
	t.Run("slow start", func(t *testing.T) {
		w.SetFault(t, faults.SlowStart, "700")
		start := time.Now()
		guest(t, "box", "--network", "none")
		if took := time.Since(start); took < 700*time.Millisecond {
			t.Errorf("it started after %s", took)
		}
	})
	t.Run("stopped vanishes", func(t *testing.T) {
		w.SetFault(t, faults.StoppedVanishes, "")
		guest(t, "box", "--network", "none")
		must(t, "stop", "-t", "0", "box")
		eventually(t, "it is gone", func() bool { return container(t, "inspect", "box").code == 1 })
	})
	t.Run("wrong platform", func(t *testing.T) {
		w.SetFault(t, faults.WrongPlatform, "")
		if got := must(t, "image", "inspect", world.AgentImage); !strings.Contains(got, "s390x") {
			t.Errorf("the image is for %s", got)
		}
		refuses(t, "failed to fetch image", "run", "-d", "--name", "box", "--", world.AgentImage)
	})
	t.Run("an unknown fault", func(t *testing.T) {
		w.SetFault(t, "no-such-fault", "")
		if r := container(t, "list"); r.code != exitBroken {
			t.Errorf("exit %d: a fault that does nothing goes unnoticed", r.code)
		}
	})
}

func TestCallLog(t *testing.T) {
	w := enter(t)
	container(t, "inspect", "nobody")
	calls := w.CallLog(t)
	last := calls[len(calls)-1]
	if strings.Join(last.Argv, " ") != "inspect nobody" || last.Exit != 1 || last.PID == 0 || last.Start.IsZero() {
		t.Errorf("the last call is %+v", last)
	}
}
