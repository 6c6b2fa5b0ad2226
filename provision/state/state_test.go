package state

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// holdEnv makes this test binary a server that holds a lock until it dies.
const holdEnv = "STATE_TEST_HOLD"

func TestMain(m *testing.M) {
	if root := os.Getenv(holdEnv); root != "" {
		hold(root)
	}
	os.Exit(m.Run())
}

func hold(root string) {
	s, err := Open(root)
	if err == nil {
		_, err = s.Reserve(context.Background(), Record{ID: "held", Phase: Launching, Launcher: Self()})
	}
	fmt.Println("held", err)
	time.Sleep(time.Minute)
	os.Exit(1)
}

func open(t *testing.T, root string) *Store {
	t.Helper()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func reserve(t *testing.T, s *Store, id backend.ID) *Lock {
	t.Helper()
	l, err := s.Reserve(t.Context(), Record{ID: id, Phase: Reserved, Launcher: Self()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func short(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestDefaultRoot(t *testing.T) {
	tests := []struct{ xdg, home, want string }{
		{"/x/state", "/home/u", "/x/state/bottle-mcp"},
		{"relative", "/home/u", "/home/u/.local/state/bottle-mcp"},
		{"", "/home/u", "/home/u/.local/state/bottle-mcp"},
		{"", "", ""},
	}
	for _, tt := range tests {
		got, err := DefaultRoot(func(name string) (string, bool) {
			v := map[string]string{"XDG_STATE_HOME": tt.xdg, "HOME": tt.home}[name]
			return v, v != ""
		})
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("DefaultRoot with %+v is %q, %v", tt, got, err)
		}
	}
}

func TestLife(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	want := Record{
		ID: "a-b-1", Phase: Reserved, Label: "l", Bottles: []string{"default"}, Backend: "linux", Principal: "operator",
		Created: time.Now().Round(0).UTC(), Limits: backend.Limits{PIDs: 3}, Detail: []byte(`{"x":1}`), Launcher: Self(),
	}
	l, err := s.Reserve(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(s.BottlesDir(), "a-b-1")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(s.BottlesDir(), "a-b-1", recordFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("record: %v, %v", info, err)
	}
	if _, err := s.Reserve(t.Context(), want); !errors.Is(err, backend.ErrExists) {
		t.Errorf("second reservation: %v", err)
	}
	want.Phase = Ready
	if err := l.Write(want); err != nil {
		t.Fatal(err)
	}
	want.Schema, want.Owner = schema, s.Owner()
	got, err := s.Read("a-b-1")
	if err != nil {
		t.Fatal(err)
	}
	got.Detail, want.Detail = nil, nil // formatting of raw JSON differs
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read back\n%+v, want\n%+v", got, want)
	}
	if err := l.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read("a-b-1"); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("after removal: %v", err)
	}
	if left, err := os.ReadDir(s.BottlesDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := s.Lock(t.Context(), "a-b-1"); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("lock after removal: %v", err)
	}
}

func TestOwner(t *testing.T) {
	root := t.TempDir()
	var wg sync.WaitGroup
	owners := make([]string, 16)
	for i := range owners {
		wg.Go(func() {
			s, err := Open(root)
			if err != nil {
				t.Error(err)
				return
			}
			owners[i] = s.Owner()
			_ = s.Close()
		})
	}
	wg.Wait()
	for _, o := range owners {
		if o != owners[0] || !ownerPattern.MatchString(o) {
			t.Fatalf("owners differ: %q", owners)
		}
	}
	if left, err := filepath.Glob(filepath.Join(root, ".owner-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for _, bad := range []string{"", "short\n", strings.Repeat("g", 32), strings.Repeat("0", 33)} {
		if err := os.WriteFile(filepath.Join(root, ownerFile), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(root); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("owner %q: %v", bad, err)
		}
	}
}

func TestOpenTightens(t *testing.T) {
	root := filepath.Join(t.TempDir(), "state")
	if err := os.MkdirAll(filepath.Join(root, bottlesDir), 0o755); err != nil {
		t.Fatal(err)
	}
	open(t, root)
	for _, dir := range []string{root, filepath.Join(root, bottlesDir)} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
}

// TestOneWins lets two servers race for the same ids, while a third takes
// every directory it finds for an orphan's.
func TestOneWins(t *testing.T) {
	root := t.TempDir()
	a, b, c := open(t, root), open(t, root), open(t, root)
	done := make(chan struct{})
	var sweeper, wg sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			entries, err := c.List()
			if err != nil {
				t.Error(err)
				return
			}
			for _, e := range entries {
				if errors.Is(e.Err, ErrNoRecord) {
					if l, err := c.Lock(t.Context(), e.ID); err == nil {
						if _, err := c.Read(e.ID); errors.Is(err, ErrNoRecord) {
							_ = l.Remove()
						} else {
							_ = l.Unlock()
						}
					}
				}
			}
		}
	})
	var won, lost atomic.Int32
	const ids = 50
	for i := range ids {
		for _, s := range []*Store{a, b} {
			wg.Go(func() {
				l, err := s.Reserve(t.Context(), Record{ID: backend.ID(fmt.Sprintf("id-%d", i)), Phase: Launching})
				switch {
				case err == nil:
					won.Add(1)
					if r, err := s.Read(l.id); err != nil || r.Phase != Launching {
						t.Errorf("the winner's record: %+v, %v", r, err)
					}
					_ = l.Unlock()
				case errors.Is(err, backend.ErrExists):
					lost.Add(1)
				default:
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	close(done)
	sweeper.Wait()
	if won.Load() != ids || lost.Load() != ids {
		t.Errorf("%d won and %d lost of %d ids", won.Load(), lost.Load(), ids)
	}
}

// TestDrafts: what a server leaves that dies while it reserves is swept, and
// what another one has in the making is not.
func TestDrafts(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	old := time.Now().Add(-2 * draftAge)
	for _, name := range []string{"dead", "fresh", "held"} {
		dir := filepath.Join(s.BottlesDir(), draftPrefix+name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if name != "fresh" {
			if err := os.Chtimes(dir, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	held, err := os.Open(filepath.Join(s.BottlesDir(), draftPrefix+"held"))
	if err != nil {
		t.Fatal(err)
	}
	if err := flock(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	open(t, root)
	left, err := filepath.Glob(filepath.Join(s.BottlesDir(), draftPrefix+"*"))
	if err != nil || len(left) != 2 || strings.HasSuffix(left[0], "dead") {
		t.Errorf("left are %v, %v", left, err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, root)
	if left, err = filepath.Glob(filepath.Join(s.BottlesDir(), draftPrefix+"*")); err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
	if entries, err := s.List(); err != nil || len(entries) != 0 {
		t.Errorf("drafts are listed: %v, %v", entries, err)
	}
}

func TestLockExcludes(t *testing.T) {
	root := t.TempDir()
	a, b := open(t, root), open(t, root)
	l := reserve(t, a, "x")
	for _, s := range []*Store{a, b} {
		if _, err := s.Lock(short(t), "x"); !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("second lock: %v", err)
		}
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	l, err := b.Lock(short(t), "x")
	if err != nil {
		t.Fatal(err)
	}
	// Who waits while the bottle is removed and made anew must not get it.
	failed := make(chan error)
	go func() {
		_, err := a.Lock(t.Context(), "x")
		failed <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := b.bottles.Rename("x", "moved"); err != nil {
		t.Fatal(err)
	}
	again := reserve(t, b, "x")
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("the lock of a removed bottle: %v", err)
	}
	if err := again.Remove(); err != nil {
		t.Error(err)
	}
}

func TestLockEndsWithProcess(t *testing.T) {
	root := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	if _, err := os.Stat(cmd.Path); err != nil {
		cmd.Path = os.Args[0]
	}
	cmd.Env = append(os.Environ(), holdEnv+"="+root)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "held <nil>\n" {
		t.Fatalf("the other server says %q, %v", line, err)
	}
	s := open(t, root)
	r, err := s.Read("held")
	if err != nil || !r.Launcher.Alive() || r.Launcher == Self() {
		t.Errorf("record %+v, %v: its launcher lives", r, err)
	}
	if _, err := s.Lock(short(t), "held"); !errors.Is(err, ErrBusy) {
		t.Errorf("lock while the other server lives: %v", err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if r.Launcher.Alive() {
		t.Error("the launcher was killed and counts as alive")
	}
	l, err := s.Lock(t.Context(), "held")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(); err != nil {
		t.Error(err)
	}
}

func TestProcess(t *testing.T) {
	if !Self().Alive() {
		t.Error("this process is not alive")
	}
	for _, p := range []Process{{}, {PID: os.Getpid()}, {PID: os.Getpid(), Start: "another"}, {PID: 1 << 30, Start: Self().Start}} {
		if p.Alive() {
			t.Errorf("%+v is alive", p)
		}
	}
}

func TestInvalidIDs(t *testing.T) {
	s := open(t, t.TempDir())
	for _, id := range []backend.ID{"", "..", "a/b", "-a", "A", "a\x00", "a\nb", backend.ID(strings.Repeat("a", 41))} {
		_, e1 := s.Reserve(t.Context(), Record{ID: id})
		_, e2 := s.Lock(t.Context(), id)
		_, e3 := s.Read(id)
		_, _, e4 := s.CreateOutput(id)
		_, e5 := s.OpenOutput(id, "out-0000000000000000")
		_, e6 := s.OpenLedger(id)
		for i, err := range []error{e1, e2, e3, e4, e5, e6} {
			if err == nil {
				t.Errorf("id %q: call %d succeeded", id, i+1)
			}
		}
	}
}
