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

// TestKilledAtAnyMoment kills the program while it works. The daemon's half
// goes on, as on a Mac, and what it made can be seen and deleted.
func TestKilledAtAnyMoment(t *testing.T) {
	w := enter(t)
	network(t, "one")
	for wait := 10 * time.Millisecond; wait < 500*time.Millisecond; wait += 60 * time.Millisecond {
		cmd := exec.CommandContext(t.Context(), "container", "run", "-d", "--name", "box", "--network", "one", "--", world.AgentImage, "sleep", "300")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(wait)
		_ = cmd.Process.Kill() // it may have ended already
		_ = cmd.Wait()
		eventually(t, "the daemon's half is done", func() bool { return !serving(t) })
		listed := strings.Contains(must(t, "list", "-a", "--format", "json"), `"id":"box"`)
		known := strings.Contains(strings.Join(w.Engine(t).Containers, " "), "box")
		if listed != known {
			t.Errorf("killed after %s: listed %t, in Podman %t", wait, listed, known)
		}
		clean(t, "delete", "-f", "box")
	}
}

// serving says whether a process of the daemon's half is at work.
func serving(t *testing.T) bool {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		text, err := os.ReadFile(line)
		if err == nil && strings.HasPrefix(string(text), "container-apiserver") {
			return true
		}
	}
	return false
}

func TestTerminal(t *testing.T) {
	enter(t)
	guest(t, "box", "--network", "none")
	r := container(t, "exec", "-t", "--", "box", "sh", "-c", "test -t 1 && echo terminal; echo err >&2; exit 5")
	if r.code != 5 || r.out != "terminal\r\nerr\r\n" || r.complaint != "" {
		t.Errorf("exit %d, stdout %q, stderr %q", r.code, r.out, r.complaint)
	}
	give := func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader("") }
	if r := run(t, give, "exec", "-it", "--", "box", "true"); r.code != 1 || !strings.Contains(r.complaint, "terminal") {
		t.Errorf("-it without a terminal: exit %d, %q", r.code, r.complaint)
	}
}
