package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
)

func TestLifecycle(t *testing.T) {
	enter(t)
	guest(t, "box", "--network", "none", "--label", "dev.example.a=b", "-e", "A=1")

	t.Run("documents", func(t *testing.T) {
		one := valid(t, "inspect", must(t, "inspect", "box"))
		all := valid(t, "list --format json", must(t, "list", "--format", "json"))
		for _, want := range []string{`"dev.example.a" : "b"`, `"state" : "running"`, `"executable" : "sleep"`, `docker.io\/`} {
			if strings.Contains(want, `\/`) {
				continue // the image of the tests has a registry of its own
			}
			if !strings.Contains(one, want) {
				t.Errorf("inspect lacks %s: %s", want, one)
			}
		}
		if strings.Count(all, "\n") != 1 || strings.Contains(one, "bottle-standin") {
			t.Errorf("list is not one line, or shows what is the stand-in's own: %s%s", all, one)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		refuses(t, `exists: "container with id box already exists"`, "run", "-d", "--name", "box", "--network", "none", "--", world.AgentImage)
		refuses(t, "invalidState", "delete", "box")
		refuses(t, `notFound: "container not found: a1, b1"`, "inspect", "a1", "box", "b1")
		refuses(t, "notFound", "stop", "nobody")
		refuses(t, "notFound", "delete", "-f", "nobody")
		refuses(t, "invalidArgument", "delete")
		refuses(t, "200", "create", "--name", "small", "-m", "100m", "--", world.AgentImage)
		if r := container(t, "run", "--cpus", "2.5", "x"); r.code != 64 || !strings.Contains(r.complaint, "Usage:") {
			t.Errorf("a bad option: exit %d, %q", r.code, r.complaint)
		}
	})
	t.Run("stop", func(t *testing.T) {
		if got := must(t, "stop", "-t", "1", "box"); got != "box\n" {
			t.Errorf("printed %q", got)
		}
		must(t, "stop", "box") // a stopped one is fine
		one := valid(t, "inspect", must(t, "inspect", "box"))
		if !strings.Contains(one, `"state" : "stopped"`) || !strings.Contains(one, `"startedDate"`) {
			t.Errorf("a stopped container is %s", one)
		}
		if got := must(t, "list", "--format", "json"); got != "[]\n" {
			t.Errorf("list without -a shows %s", got)
		}
		if got := must(t, "list", "-a", "-q"); got != "box\n" {
			t.Errorf("list -a -q prints %q", got)
		}
		refuses(t, `invalidState: "container box is not running"`, "exec", "--", "box", "true")
		refuses(t, "invalidState", "kill", "box")
	})
	t.Run("start again and kill", func(t *testing.T) {
		must(t, "start", "box")
		must(t, "start", "box") // a running one is fine
		must(t, "kill", "box")
		if !strings.Contains(must(t, "inspect", "box"), `"state" : "stopped"`) {
			t.Error("it runs behind KILL")
		}
		must(t, "delete", "box")
		if got := must(t, "list", "-a", "--format", "json"); got != "[]\n" {
			t.Errorf("left is %s", got)
		}
	})
}

func TestCreate(t *testing.T) {
	enter(t)
	must(t, "create", "--name", "box", "--network", "none", "--", world.AgentImage, "echo", "hello")
	t.Cleanup(func() { clean(t, "delete", "-f", "box") })
	one := valid(t, "inspect", must(t, "inspect", "box"))
	if !strings.Contains(one, `"state" : "stopped"`) || strings.Contains(one, "startedDate") {
		t.Errorf("created and not started is %s", one)
	}
	if r := container(t, "start", "-a", "box"); r.code != 0 || r.out != "hello\n" {
		t.Errorf("start -a: exit %d, %q, %q", r.code, r.out, r.complaint)
	}
	if got := must(t, "logs", "box"); got != "hello\n" {
		t.Errorf("the log is %q", got)
	}
}

func TestRunForeground(t *testing.T) {
	enter(t)
	box := func(line string, options ...string) []string {
		argv := append([]string{"run", "--rm", "--network", "none"}, options...)
		return append(argv, "--", world.AgentImage, "sh", "-c", line)
	}
	if r := container(t, box("echo out; echo err >&2; exit 7")...); r.code != 7 || r.out != "out\n" || r.complaint != "err\n" {
		t.Errorf("exit %d, stdout %q, stderr %q", r.code, r.out, r.complaint)
	}
	give := func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader("text") }
	if r := run(t, give, box("cat", "-i")...); r.out != "text" {
		t.Errorf("standard input came back as %q", r.out)
	}
	refuses(t, "failed to find target executable nothing", "run", "--network", "none", "--", world.AgentImage, "nothing")
	refuses(t, "failed to find target executable nothing", "run", "-d", "--init", "--network", "none", "--", world.AgentImage, "nothing")
	eventually(t, "--rm removes", func() bool { return container(t, "list", "-a", "--format", "json").out == "[]\n" })
}

func TestLogs(t *testing.T) {
	enter(t)
	must(t, "run", "-d", "--name", "box", "--network", "none", "--", world.AgentImage, "sh", "-c", "echo one; sleep 0.3; echo two >&2; sleep 0.3; echo; echo three; sleep 300")
	t.Cleanup(func() { clean(t, "delete", "-f", "box") })
	eventually(t, "the log is whole", func() bool { return container(t, "logs", "box").out == "one\ntwo\n\nthree\n" })
	if got := must(t, "logs", "-n", "2", "box"); got != "two\nthree\n" {
		t.Errorf("the last two lines are %q", got)
	}
	if r := container(t, "logs", "--tail", "2", "box"); r.code != 64 {
		t.Errorf("--tail: exit %d", r.code)
	}
}

func TestStats(t *testing.T) {
	enter(t)
	guest(t, "box")
	out := valid(t, "stats --format json", must(t, "stats", "--format", "json", "box"))
	if !strings.Contains(out, `"id":"box"`) || strings.Contains(out, `"numProcesses":0`) || strings.Contains(out, `"memoryUsageBytes":0,`) {
		t.Errorf("the sample is %s", out)
	}
}

func TestManyAtOnce(t *testing.T) {
	enter(t)
	t.Run("together", func(t *testing.T) {
		for _, name := range []string{"one", "two", "three", "four"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				network(t, name, "--internal")
				guest(t, name, "--network", name)
				if got := sh(t, name, "hostname"); got != name {
					t.Errorf("in %s the name is %s", name, got)
				}
				must(t, "delete", "-f", name)
				must(t, "network", "delete", name)
			})
		}
	})
}

func TestCopy(t *testing.T) {
	enter(t)
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"script": 0o755, "tree/private": 0o600} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 501, 20); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("private", filepath.Join(dir, "tree", "link")); err != nil {
		t.Fatal(err)
	}
	guest(t, "box", "--network", "none", "--tmpfs", "/covered")
	stat := func(path string) string { return sh(t, "box", "stat -c '%u:%g %a' "+path) }

	t.Run("a file is root's and 0644", func(t *testing.T) {
		if got := must(t, "cp", filepath.Join(dir, "script"), "box:/made/for/it/script"); got != "box:/made/for/it/script\n" {
			t.Errorf("printed %q", got)
		}
		if got := stat("/made/for/it/script"); got != "0:0 644" {
			t.Errorf("it is %s", got)
		}
	})
	t.Run("a directory keeps the host's numbers", func(t *testing.T) {
		must(t, "cp", filepath.Join(dir, "tree"), "box:/tmp")
		if got := stat("/tmp/tree/private"); got != "501:20 600" {
			t.Errorf("it is %s", got)
		}
		if got := sh(t, "box", "readlink /tmp/tree/link"); got != "private" {
			t.Errorf("the link points to %q", got)
		}
	})
	t.Run("a mount hides it", func(t *testing.T) {
		must(t, "cp", filepath.Join(dir, "script"), "box:/covered/script")
		if got := sh(t, "box", "ls /covered"); got != "" {
			t.Errorf("the guest sees %q", got)
		}
	})
	t.Run("out", func(t *testing.T) {
		must(t, "cp", "box:/tmp/tree", filepath.Join(dir, "back"))
		if got, err := os.ReadFile(filepath.Join(dir, "back", "private")); err != nil || string(got) != "tree/private" {
			t.Errorf("came back as %q: %v", got, err)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		refuses(t, "notFound", "cp", filepath.Join(dir, "nothing"), "box:/x")
		refuses(t, "does not exist", "cp", filepath.Join(dir, "script"), "box:/nowhere/")
		must(t, "stop", "-t", "0", "box")
		refuses(t, "invalidState", "cp", filepath.Join(dir, "script"), "box:/x")
	})
}

func TestGraceIsTime(t *testing.T) {
	enter(t)
	guest(t, "box", "--network", "none")
	start := time.Now()
	must(t, "stop", "-t", "1", "box") // sleep is process 1 and ignores TERM
	if took := time.Since(start); took < time.Second {
		t.Errorf("process 1 ended after %s: there is no init", took)
	}
}

// TestNameLeftInPodman has Podman know a name that the stand-in does not, as
// after a crash of the daemon's half.
func TestNameLeftInPodman(t *testing.T) {
	enter(t)
	if _, err := world.Podman(t.Context(), "create", "--name", "box", "--network", "none", world.AgentImage); err != nil {
		t.Fatal(err)
	}
	guest(t, "box", "--network", "none")
	if got := sh(t, "box", "hostname"); got != "box" {
		t.Errorf("in it the name is %q", got)
	}
}
