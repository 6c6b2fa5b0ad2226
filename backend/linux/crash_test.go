//go:build linux

package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/cgroup"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// TestCrash kills one process of a bottle at a time, hard, and demands that
// list tells the truth, that the guest has no way out, and that removal leaves
// nothing.
func TestCrash(t *testing.T) {
	for _, tc := range []struct {
		name   string
		victim func(shim.State) shim.Process
		state  backend.State
		egress bool
	}{
		{"shim", func(s shim.State) shim.Process { return s.Shim }, backend.Dead, false},
		{"guest", func(s shim.State) shim.Process { return s.Guest }, backend.Dead, false},
		{"sidecar", func(s shim.State) shim.Process { return s.Sidecar }, backend.Degraded, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBackend(t)
			start(t, b, "crash")
			st, err := b.readState("crash")
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Kill(tc.victim(st).PID, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			inst := waitState(t, b, "crash", tc.state)
			if inst.Services[sidecars.Egress] != tc.egress {
				t.Errorf("egress alive = %v, want %v", !tc.egress, tc.egress)
			}
			if tc.state == backend.Degraded {
				assertNoWayOut(t, b)
			} else if _, err := run(t, b, "crash", "true"); !errors.Is(err, backend.ErrNotRunning) {
				t.Errorf("Exec in a dead bottle: %v, want ErrNotRunning", err)
			}
			if err := b.Remove(t.Context(), "crash"); err != nil {
				t.Fatalf("Remove: %v", err)
			}
			assertNothingLeft(t, b, st)
		})
	}
}

// TestCrashMidLaunch kills the shim between sidecar and agent.
func TestCrashMidLaunch(t *testing.T) {
	b := newBackend(t)
	startSidecar(t, b, sidecarSpec(t, b, "half"))
	st, err := b.readState("half")
	if err != nil {
		t.Fatal(err)
	}
	if inst := waitState(t, b, "half", backend.Starting); !inst.Services[sidecars.Egress] {
		t.Error("egress is told dead while it runs")
	}
	if err := unix.Kill(st.Shim.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitState(t, b, "half", backend.Dead)
	if _, err := b.StartAgent(t.Context(), backend.AgentSpec{ID: "half"}); !errors.Is(err, backend.ErrNotRunning) {
		t.Errorf("StartAgent without a shim: %v, want ErrNotRunning", err)
	}
	if err := b.Remove(t.Context(), "half"); err != nil {
		t.Fatal(err)
	}
	assertNothingLeft(t, b, st)
}

// TestServerKilled starts a bottle from another process, which is killed while
// it runs a command, and looks at it from this one.
func TestServerKilled(t *testing.T) {
	if dir := os.Getenv("BOTTLE_TEST_SERVER_DIR"); dir != "" {
		b := New(Config{BottlesDir: dir, Owner: "shared"})
		start(t, b, "orphan")
		ready := filepath.Join(dir, "ready")
		if err := os.WriteFile(ready, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = run(t, b, "orphan", "sleep", "1000")
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerKilled$")
	cmd.Env = append(os.Environ(), "BOTTLE_TEST_SERVER_DIR="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other server's bottle", func() bool {
		_, err := os.Stat(filepath.Join(dir, "ready"))
		return err == nil
	})
	b := New(Config{BottlesDir: dir, Owner: "shared"})
	t.Cleanup(func() { _ = b.Remove(context.Background(), "orphan") })
	eventually(t, "its command", func() bool { return strings.Contains(processes(t, b, "orphan"), "sleep 1000") })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as asked
	waitState(t, b, "orphan", backend.Running)
	eventually(t, "the end of the dead server's command", func() bool {
		return !strings.Contains(processes(t, b, "orphan"), "sleep 1000")
	})
	st, err := b.readState("orphan")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(t.Context(), "orphan"); err != nil {
		t.Fatal(err)
	}
	assertNothingLeft(t, b, st)
}

// TestRecordDeleted shows that a bottle does not outlive its state directory,
// where nobody could find it.
func TestRecordDeleted(t *testing.T) {
	b := newBackend(t)
	start(t, b, "lost")
	st, err := b.readState("lost")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(b.dir("lost")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of what nobody can find", func() bool {
		return !st.Shim.Alive() && !st.Guest.Alive() && !st.Sidecar.Alive()
	})
	assertNothingLeft(t, b, st)
}

// TestForeignOwner shows that another owner's bottle cannot be seen or touched.
func TestForeignOwner(t *testing.T) {
	b := newBackend(t)
	start(t, b, "theirs")
	other := New(Config{BottlesDir: b.cfg.BottlesDir, Owner: "someone-else"})
	if list, err := other.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("List as another owner = %v, %v; want nothing", list, err)
	}
	if err := other.Remove(t.Context(), "theirs"); err != nil {
		t.Errorf("Remove as another owner: %v, want success without effect", err)
	}
	if _, err := other.Exec(t.Context(), "theirs", backend.Command{Argv: []string{"true"}}, backend.Streams{}); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("Exec as another owner: %v, want ErrNotFound", err)
	}
	waitState(t, b, "theirs", backend.Running)
}

// TestRecordNamesForeignProcess shows that a state file cannot make Remove
// kill a process that is not the bottle's.
func TestRecordNamesForeignProcess(t *testing.T) {
	sleeper := exec.Command("sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() }()
	p, err := shim.Identify(sleeper.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p.Start-- // the number was another process's before
	p.Kill()
	time.Sleep(20 * time.Millisecond)
	if now, err := shim.Identify(sleeper.Process.Pid); err != nil || !now.Alive() {
		t.Error("a process with a recycled number was killed")
	}
}

func assertNoWayOut(t *testing.T, b *Backend) {
	t.Helper()
	begin := time.Now()
	st, err := b.Exec(t.Context(), "crash", backend.Command{Argv: []string{"bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9099"}}, backend.Streams{})
	if err != nil || st.Code == 0 {
		t.Errorf("the dead sidecar's port: status %+v, %v; want a refused connection", st, err)
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("the refusal took %s", d)
	}
}

// TestTitle shows that ps tells which bottle a shim keeps.
func TestTitle(t *testing.T) {
	b := newBackend(t)
	start(t, b, "a-bottle-with-a-title")
	st, err := b.readState("a-bottle-with-a-title")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", st.Shim.PID))
	if got := strings.Join(strings.FieldsFunc(string(data), func(r rune) bool { return r == 0 }), " "); err != nil || got != "bottle-mcp shim a-bottle-with-a-title" {
		t.Errorf("ps shows %q, %v", got, err)
	}
}

func assertNothingLeft(t *testing.T, b *Backend, st shim.State) {
	t.Helper()
	for name, p := range map[string]shim.Process{"shim": st.Shim, "guest": st.Guest, "sidecar": st.Sidecar} {
		if p.Alive() {
			t.Errorf("the %s (process %d) is left", name, p.PID)
		}
	}
	if g := cgroup.Find(cgroup.Root, cgroup.Name(st.Owner, st.ID)); len(g.Dirs) != 0 {
		t.Errorf("control groups are left: %v", g.Dirs)
	}
	if _, err := os.Stat(filepath.Join(b.cfg.BottlesDir, st.ID)); err == nil {
		t.Error("the bottle's directory is left")
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(mounts, []byte("/.bottle")) {
		t.Error("a mount of a bottle is left on the host")
	}
	if list, err := b.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("List after Remove = %v, %v; want nothing", list, err)
	}
}

func waitState(t *testing.T, b *Backend, id backend.ID, want backend.State) backend.Instance {
	t.Helper()
	var last backend.Instance
	eventually(t, string(want), func() bool {
		list, err := b.List(t.Context())
		if err != nil || len(list) != 1 || list[0].ID != id {
			t.Fatalf("List = %+v, %v; want bottle %s", list, err, id)
		}
		last = list[0]
		return last.State == want
	})
	return last
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// run runs argv in a bottle and returns its standard output.
func run(t *testing.T, b *Backend, id backend.ID, argv ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	_, err := b.Exec(t.Context(), id, backend.Command{Argv: argv}, backend.Streams{Stdout: &out})
	return out.String(), err
}

func processes(t *testing.T, b *Backend, id backend.ID) string {
	t.Helper()
	out, err := run(t, b, id, "sh", "-c", `cat /proc/[0-9]*/cmdline | tr '\0' ' '`)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
