//go:build linux

package linux

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
)

// spareBackend returns a backend with its spare started.
func spareBackend(t *testing.T) (*Backend, shim.Process) {
	t.Helper()
	b := New(Config{BottlesDir: t.TempDir(), Owner: "test-" + t.Name(), Spare: true})
	t.Cleanup(func() { _ = b.Close() })
	if _, err := b.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b, waitSpare(t, b)
}

func waitSpare(t *testing.T, b *Backend) shim.Process {
	t.Helper()
	var p shim.Process
	eventually(t, "a spare with both its processes", func() bool {
		b.spares.mu.Lock()
		defer b.spares.mu.Unlock()
		if b.spares.ready == nil {
			return false
		}
		var err error
		p, err = shim.Identify(b.spares.ready.cmd.Process.Pid)
		return err == nil && len(children(p.PID)) == 2
	})
	return p
}

func children(pid int) []int {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "task", strconv.Itoa(pid), "children"))
	if err != nil {
		return nil
	}
	var out []int
	for _, f := range strings.Fields(string(data)) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// TestSpare shows that a launch takes the spare, that another takes its place,
// and that closing leaves nothing of it.
func TestSpare(t *testing.T) {
	b, first := spareBackend(t)
	start(t, b, "warm")
	st, err := b.readState("warm")
	if err != nil || st.Shim != first {
		t.Errorf("the bottle's shim is %+v, %v; want the spare %+v", st.Shim, err, first)
	}
	if out, err := run(t, b, "warm", "hostname"); err != nil || strings.TrimSpace(out) != "warm" {
		t.Errorf("hostname = %q, %v", out, err)
	}
	second := waitSpare(t, b)
	if second == first {
		t.Fatal("no new spare")
	}
	if list, err := b.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("List = %+v, %v; a spare is no bottle", list, err)
	}
	kids := children(second.PID)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the spare's end", func() bool {
		for _, pid := range append(kids, second.PID) {
			if p, err := shim.Identify(pid); err == nil && p.Alive() {
				return false
			}
		}
		return true
	})
	waitState(t, b, "warm", backend.Running)
	if err := b.Remove(t.Context(), "warm"); err != nil {
		t.Fatal(err)
	}
	assertNothingLeft(t, b, st)
}

// TestSpareDead shows that a launch does without a spare that has died, whole
// or in part.
func TestSpareDead(t *testing.T) {
	for name, victim := range map[string]func(shim.Process) int{
		"shim":  func(p shim.Process) int { return p.PID },
		"child": func(p shim.Process) int { return children(p.PID)[0] },
		"other": func(p shim.Process) int { return children(p.PID)[1] },
	} {
		t.Run(name, func(t *testing.T) {
			b, spare := spareBackend(t)
			if err := unix.Kill(victim(spare), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
			start(t, b, "cold")
			if _, err := run(t, b, "cold", "true"); err != nil {
				t.Error(err)
			}
			inst := waitState(t, b, "cold", backend.Running)
			if inst.State != backend.Running {
				t.Errorf("state %s", inst.State)
			}
		})
	}
}
