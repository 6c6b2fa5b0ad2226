package state

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// shortStore has room for a socket's path.
func shortStore(t *testing.T) *Store {
	t.Helper()
	dir, err := os.MkdirTemp("", "bm-") //nolint:usetesting // its path is too long
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Close()
		_ = os.RemoveAll(dir)
	})
	return s
}

func TestListen(t *testing.T) {
	s := shortStore(t)
	const id = backend.ID("fizzy-otter")
	l, err := s.Listen(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	path := s.SocketPath(id)
	for name, want := range map[string]os.FileMode{path: os.ModeSocket | 0o600, filepath.Dir(path): os.ModeDir | 0o700, filepath.Dir(filepath.Dir(path)): os.ModeDir | 0o700} {
		if info, err := os.Lstat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	go func() {
		if conn, err := l.Accept(); err == nil {
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	}()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); err != nil || string(text) != "hello" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := s.Listen(t.Context(), id); !errors.Is(err, ErrBusy) {
		t.Errorf("two serve one bottle: %v", err)
	}
	other, err := s.Listen(t.Context(), "another")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(), l.Close(), other.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
}

// TestListenAgain has a server that was killed leave its socket, and the next one
// take its place.
func TestListenAgain(t *testing.T) {
	s := shortStore(t)
	l, err := s.Listen(t.Context(), "task")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.UnixListener.Close()
	_ = l.lock.Close()
	if _, err := os.Lstat(s.SocketPath("task")); err != nil {
		t.Fatalf("the control: %v", err)
	}
	again, err := s.Listen(t.Context(), "task")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	conn, err := net.Dial("unix", s.SocketPath("task"))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestListenRefuses(t *testing.T) {
	if _, err := shortStore(t).Listen(t.Context(), "../x"); err == nil {
		t.Error("an id that is none is served")
	}
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 20))
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Listen(t.Context(), "task"); err == nil || !strings.Contains(err.Error(), "shorter --state-dir") {
		t.Errorf("a path that is too long: %v", err)
	}
}

// TestSocketGoes has the socket removed with the bottle.
func TestSocketGoes(t *testing.T) {
	s := shortStore(t)
	lock, err := s.Reserve(t.Context(), Record{ID: "task", Owner: s.Owner(), Phase: Reserved})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Listen(t.Context(), "task")
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Dir(s.SocketPath("task"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory stays: %v", err)
	}
	// A bottle of that id that is launched anew is served anew, and the server of
	// the one before does no harm.
	again, err := s.Listen(t.Context(), "task")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	conn, err := net.Dial("unix", s.SocketPath("task"))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
