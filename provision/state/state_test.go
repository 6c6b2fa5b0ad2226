package state

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

func TestCorrupt(t *testing.T) {
	good := func(s *Store) string {
		data, err := encode(Record{ID: "bad", Owner: s.Owner(), Phase: Ready})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	tests := []struct {
		name string
		text func(*Store) string
		want string
	}{
		{"torn", func(s *Store) string { return good(s)[:40] }, "unexpected end"},
		{"empty", func(*Store) string { return "" }, "unexpected end"},
		{"not JSON", func(*Store) string { return "\x00\x01" }, "invalid character"},
		{"unknown key", func(s *Store) string { return strings.Replace(good(s), `"label"`, `"lable"`, 1) }, `unknown field "lable"`},
		{"newer format", func(s *Store) string { return strings.Replace(good(s), `"schema": 1`, `"schema": 2`, 1) }, "format 2"},
		{"other bottle", func(s *Store) string { return strings.Replace(good(s), `"bad"`, `"worse"`, 1) }, "another bottle"},
		{"other owner", func(s *Store) string { return strings.Replace(good(s), s.Owner(), strings.Repeat("0", 32), 1) }, "another owner"},
		{"odd phase", func(s *Store) string { return strings.Replace(good(s), `"ready"`, `"done"`, 1) }, `phase "done"`},
		{"huge", func(s *Store) string { return good(s) + strings.Repeat(" ", maxRecord) }, "larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			_ = reserve(t, s, "good").Unlock()
			_ = reserve(t, s, "bad").Unlock()
			if err := os.WriteFile(filepath.Join(s.BottlesDir(), "bad", recordFile), []byte(tt.text(s)), 0o600); err != nil {
				t.Fatal(err)
			}
			entries, err := s.List()
			if err != nil || len(entries) != 2 {
				t.Fatalf("list is %+v, %v", entries, err)
			}
			var corrupt *CorruptError
			if !errors.As(entries[0].Err, &corrupt) || corrupt.ID != "bad" || !strings.Contains(corrupt.Error(), tt.want) {
				t.Errorf("error %v lacks %q", entries[0].Err, tt.want)
			}
			if entries[1].Err != nil || entries[1].ID != "good" {
				t.Errorf("the good one suffers: %+v", entries[1])
			}
			l, err := s.Lock(t.Context(), "bad")
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLinks plants symbolic links and pipes where files of ours are expected.
func TestLinks(t *testing.T) {
	s := open(t, t.TempDir())
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "keep"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"victim", "other"} {
		_ = reserve(t, s, backend.ID(name)).Unlock()
	}
	at := func(parts ...string) string { return filepath.Join(append([]string{s.BottlesDir()}, parts...)...) }
	link := func(target, name string) {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	link(outside, at("linked"))
	link("other", at("alias"))
	link(filepath.Join(outside, "keep"), at("victim", EgressLog))
	link(outside, at("victim", outputsDir))
	link(outside, at("victim", "dir"))
	if err := syscall.Mkfifo(at("other", EgressLog), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []backend.ID{"linked", "alias"} {
		if _, err := s.Read(id); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("read %s: %v", id, err)
		}
		if _, err := s.Lock(t.Context(), id); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("lock %s: %v", id, err)
		}
		if _, _, err := s.CreateOutput(id); err == nil {
			t.Errorf("output through %s", id)
		}
	}
	for _, id := range []backend.ID{"victim", "other"} {
		if _, err := s.OpenEgressLog(id); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("egress log of %s: %v", id, err)
		}
	}
	if _, _, err := s.CreateOutput("victim"); err == nil {
		t.Error("an output was made through a link")
	}
	entries, err := s.List()
	if err != nil || len(entries) != 2 {
		t.Errorf("list is %+v, %v", entries, err)
	}
	l, err := s.Lock(t.Context(), "victim")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(filepath.Join(outside, "keep")); err != nil || string(data) != "secret" {
		t.Errorf("removal went through a link: %q, %v", data, err)
	}
}

func TestOutputs(t *testing.T) {
	s := open(t, t.TempDir())
	_ = reserve(t, s, "x").Unlock()
	name, w, err := s.CreateOutput("x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.WriteString("hello")
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := s.OpenOutput("x", name)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); err != nil || string(data) != "hello" {
		t.Errorf("read %q, %v", data, err)
	}
	_ = r.Close()
	for _, bad := range []string{"", "..", "../" + recordFile, "out-1", name + "/x", "out-0000000000000000"} {
		if _, err := s.OpenOutput("x", bad); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("output %q: %v", bad, err)
		}
	}
	for range maxOutputs {
		_, w, err := s.CreateOutput("x")
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
	}
	left, err := os.ReadDir(filepath.Join(s.BottlesDir(), "x", outputsDir))
	if err != nil || len(left) != maxOutputs {
		t.Errorf("%d outputs are kept, %v", len(left), err)
	}
}

func TestPreserve(t *testing.T) {
	s := open(t, t.TempDir())
	l := reserve(t, s, "x")
	dir := filepath.Join(s.BottlesDir(), "x")
	if s.Preserved("x") {
		t.Error("preserved without the file")
	}
	for _, name := range []string{preserveFile, EgressLog} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("log"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !s.Preserved("x") {
		t.Error("not preserved")
	}
	for range 2 { // again is no error
		if err := l.Preserve(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, EgressLog)); err != nil {
		t.Fatal(err)
	}
	f, err := s.OpenEgressLog("x")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(f); err != nil || string(data) != "log" {
		t.Errorf("kept log is %q, %v", data, err)
	}
	_ = f.Close()
	_ = l.Unlock()
}

func TestInvalidIDs(t *testing.T) {
	s := open(t, t.TempDir())
	for _, id := range []backend.ID{"", "..", "a/b", "-a", "A", "a\x00", "a\nb", backend.ID(strings.Repeat("a", 41))} {
		_, e1 := s.Reserve(t.Context(), Record{ID: id})
		_, e2 := s.Lock(t.Context(), id)
		_, e3 := s.Read(id)
		_, _, e4 := s.CreateOutput(id)
		_, e5 := s.OpenOutput(id, "out-0000000000000000")
		_, e6 := s.OpenEgressLog(id)
		for i, err := range []error{e1, e2, e3, e4, e5, e6} {
			if err == nil {
				t.Errorf("id %q: call %d succeeded", id, i+1)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	data, err := encode(Record{ID: "x", Phase: Ready, Detail: []byte(`{}`)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Add(`{"schema":1,"id":"x","phase":"ready","expires":"x"}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := decode(strings.NewReader(text), "x")
		if err != nil {
			return
		}
		if r.ID != "x" || r.Schema != schema || len(text) > maxRecord {
			t.Errorf("accepted %+v", r)
		}
		if _, err := encode(r); err != nil && len(text) < maxRecord/8 {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}
