package main

import (
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/terminal"
)

// onWindow is a command line whose standard input is a terminal window.
func onWindow(t *testing.T) (*fakeCLI, *terminal.Pair) {
	t.Helper()
	pair, err := terminal.Open(backend.WindowSize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pair.Close)
	c := newFakeCLI(t, newFake())
	c.con.in, c.con.inTerminal, c.con.outTerminal = pair.Slave, true, true
	return c, pair
}

// waiting is how many bytes were typed that nobody has read.
func waiting(t *testing.T, f *os.File) int {
	t.Helper()
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// awaitWaiting polls: a terminal takes its time to hand on what was typed.
func awaitWaiting(t *testing.T, f *os.File, want int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); waiting(t, f) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes wait for the next reader, want %d", waiting(t, f), want)
		}
	}
}

// TestScreenIsGivenBack ends a command in every way, with the terminal raw
// meanwhile and what it was afterwards.
func TestScreenIsGivenBack(t *testing.T) {
	failed := errors.New("the engine failed")
	for name, end := range map[string]func() error{
		"well":       func() error { return nil },
		"by failing": func() error { return failed },
		"by a panic": func() error { panic("a fault of this program") },
	} {
		t.Run(name, func(t *testing.T) {
			c, pair := onWindow(t)
			before := termios(t, pair.Slave)
			what, streams := job{}, backend.Streams{Stdout: io.Discard}
			err := func() (err error) {
				defer func() {
					if p := recover(); p != nil {
						err = errors.New("panicked")
					}
				}()
				return c.onTerminal(&what, &streams, func() {}, func() error {
					if now := termios(t, pair.Slave); now.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
						t.Error("the terminal is not raw while the command has it")
					}
					return end()
				})
			}()
			if name == "by failing" && !errors.Is(err, failed) || name == "well" && err != nil {
				t.Errorf("%v", err)
			}
			if after := termios(t, pair.Slave); !reflect.DeepEqual(after, before) {
				t.Errorf("the terminal is %+v, and was %+v", after, before)
			}
		})
	}
}

// TestRepliesAreDropped has the terminal answer what the command has asked it,
// when the command is gone: a shell would execute it.
func TestRepliesAreDropped(t *testing.T) {
	c, pair := onWindow(t)
	what, streams := job{}, backend.Streams{Stdout: io.Discard}
	err := c.onTerminal(&what, &streams, func() {}, func() error {
		time.AfterFunc(replyTime/5, func() { _, _ = pair.Master.WriteString("rm -rf x\r") })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // it would be handed on by now
	if n := waiting(t, pair.Slave); n != 0 {
		t.Errorf("%d bytes of a reply wait for the shell", n)
	}
	// The control: what is typed later waits.
	if _, err := pair.Master.WriteString("ls\n"); err != nil {
		t.Fatal(err)
	}
	awaitWaiting(t, pair.Slave, 3)
}

func TestKeysAreLeftToTheNext(t *testing.T) {
	_, pair := onWindow(t)
	gone := make(chan struct{})
	k, err := newKeys(pair.Slave, func() { close(gone) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pair.Master.WriteString("one\n"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := k.Read(buf); err != nil || string(buf[:n]) != "one\n" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = k.Close() })
	if n, err := k.Read(buf); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("a closed reader reads %q, %v", buf[:n], err)
	}
	if _, err := pair.Master.WriteString("two\n"); err != nil {
		t.Fatal(err)
	}
	awaitWaiting(t, pair.Slave, 4)
	select {
	case <-gone:
		t.Error("the terminal is said to be gone")
	default:
	}
}

func TestLocalEnv(t *testing.T) {
	env := map[string]string{"COLORTERM": "truecolor", "LANG": "de_DE.UTF-8", "HOME": "/home/me"}
	if got := localEnv(func(name string) string { return env[name] }); !slices.Equal(got, []string{"COLORTERM=truecolor", "LANG=de_DE.UTF-8"}) {
		t.Errorf("%q", got)
	}
	for _, odd := range []string{"", "two words", "esc\x1b[2J", "ümläut", string(make([]byte, 100))} {
		if got := plainWord(odd); got != "" {
			t.Errorf("%q is told as %q", odd, got)
		}
	}
}
