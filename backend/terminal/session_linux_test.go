package terminal

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// sink is where output goes.
type sink struct {
	mu     sync.Mutex
	text   bytes.Buffer
	closed bool
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// session has this test be the command: it holds a copy of the slave.
func session(t *testing.T, out io.WriteCloser) (s *Session, tty *os.File, typed *io.PipeWriter) {
	t.Helper()
	pair, err := Open(backend.WindowSize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(pair.Slave.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	tty = os.NewFile(uintptr(fd), "tty")
	in, typed := io.Pipe()
	s = Start(pair, in, out)
	t.Cleanup(func() { s.Close(); _ = tty.Close() })
	return s, tty, typed
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: never", what)
		}
	}
}

func size(t *testing.T, tty *os.File) backend.WindowSize {
	t.Helper()
	w, err := unix.IoctlGetWinsize(int(tty.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		t.Fatal(err)
	}
	return backend.WindowSize{Rows: w.Row, Cols: w.Col}
}

func TestSession(t *testing.T) {
	out := &sink{}
	s, tty, typed := session(t, out)
	if got := size(t, tty); got != (backend.WindowSize{Rows: 24, Cols: 80}) {
		t.Errorf("the size is %+v at first", got)
	}
	for _, f := range [][]byte{frame(nil, kindInput, []byte("typed\n")), resizeFrame(backend.WindowSize{Rows: 5, Cols: 6}), frame(nil, kindEnd, nil)} {
		if _, err := typed.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 100)
	if n, err := tty.Read(buf); err != nil || string(buf[:n]) != "typed\n" {
		t.Errorf("the command reads %q, %v", buf[:n], err)
	}
	if n, err := tty.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("at the end of the input the command reads %q, %v", buf[:n], err)
	}
	eventually(t, "the new size", func() bool { return size(t, tty) == backend.WindowSize{Rows: 5, Cols: 6} })
	if _, err := tty.WriteString("last words"); err != nil {
		t.Fatal(err)
	}
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	s.End(nil)
	if got := out.String(); got != "typed\r\nlast words" || !out.closed {
		t.Errorf("the output is %q, closed %v", got, out.closed)
	}
}

// TestBrokenStream shows that hostile input ends the input and nothing else.
func TestBrokenStream(t *testing.T) {
	out := &sink{}
	s, tty, typed := session(t, out)
	if _, err := typed.Write([]byte("x\x00\x04\x00\x01\x00\x01")); err == nil {
		t.Error("who typed it does not learn that nobody listens")
	}
	if _, err := tty.WriteString("still here"); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close()
	s.End(nil)
	if got := out.String(); got != "still here" {
		t.Errorf("the output is %q", got)
	}
}

// TestEndIsBounded has something hold the terminal, quiet or not.
func TestEndIsBounded(t *testing.T) {
	for name, writes := range map[string]bool{"quiet": false, "writing": true} {
		t.Run(name, func(t *testing.T) {
			s, tty, _ := session(t, &sink{})
			stop := make(chan struct{})
			var all sync.WaitGroup
			if writes {
				all.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							if _, err := tty.WriteString(strings.Repeat("x", 1000)); err != nil {
								return
							}
						}
					}
				})
			}
			begun := time.Now()
			s.End(nil)
			if took := time.Since(begun); took > 10*drainTime {
				t.Errorf("it took %s", took)
			}
			close(stop)
			all.Wait()
		})
	}
}

// blocked is a reader of the output that has stopped to read.
type blocked struct{ release chan struct{} }

func (b blocked) Write(p []byte) (int, error) { <-b.release; return len(p), nil }
func (b blocked) Close() error                { return nil }

func TestEndInAHurry(t *testing.T) {
	out := blocked{make(chan struct{})}
	defer close(out.release)
	s, tty, _ := session(t, out)
	if _, err := tty.WriteString("nobody reads this"); err != nil {
		t.Fatal(err)
	}
	hurry := make(chan struct{})
	time.AfterFunc(50*time.Millisecond, func() { close(hurry) })
	begun := time.Now()
	s.End(hurry)
	if took := time.Since(begun); took < 50*time.Millisecond || took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}

// gone is a reader of the output that has gone.
type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (gone) Close() error              { return nil }

func TestHangUp(t *testing.T) {
	_, tty, _ := session(t, gone{})
	eventually(t, "the command cannot write", func() bool {
		_, err := tty.WriteString("x")
		return err != nil
	})
}
