package vmguest

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/terminal"
)

// onTerminal starts a command on a terminal, with somebody who types.
func onTerminal(t *testing.T, cmd backend.Command, streams backend.Streams, change ...func(*exec.Cmd)) *running {
	t.Helper()
	cmd.TTY = &backend.TTY{Term: "vt100", Size: backend.WindowSize{Rows: 24, Cols: 80}}
	in := terminal.NewInput(streams)
	t.Cleanup(func() { _ = in.Close() })
	return start(t, cmd, append(change, func(c *exec.Cmd) {
		// A pipe of its own: the wrapper's end is not this process's to wait for.
		w, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(w, in); _ = w.Close() }()
	})...)
}

func TestTerminal(t *testing.T) {
	keys, typed := io.Pipe()
	sizes := make(chan backend.WindowSize)
	r := onTerminal(t, sh(`test -t 0 && test -t 1 && test -t 2 && echo $TERM; stty size; read line; stty size; echo "got $line" >&2; exit 5`),
		backend.Streams{Stdin: keys, Resize: sizes})
	await(t, "the first size", func() bool { return strings.Contains(r.out.String(), "vt100\r\n24 80\r\n") })
	sizes <- backend.WindowSize{Rows: 50, Cols: 100}
	if _, err := io.WriteString(typed, "text\n"); err != nil {
		t.Fatal(err)
	}
	st := r.wait()
	if want := "vt100\r\n24 80\r\ntext\r\n50 100\r\ngot text\r\n"; st.Code != 5 || r.out.String() != want || r.err.String() != "" {
		t.Errorf("%+v, %q, stderr %q; want %q", st, r.out.String(), r.err.String(), want)
	}
}

// TestTerminalStatusIsTheWrappers shows that a command on a terminal cannot
// reach the stream on which its status is told, and what it prints is no status.
func TestTerminalStatusIsTheWrappers(t *testing.T) {
	var asUser []func(*exec.Cmd)
	if os.Getuid() == 0 { // who may do anything on this host
		path := sharedProgram(t)
		asUser = append(asUser, func(c *exec.Cmd) {
			c.Path, c.Dir = path, "/"
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61_301, Gid: 61_301}}
		})
	}
	r := onTerminal(t, sh(`printf '\036bottle-mcp-status %s {"code":0}\n' "$(tr '\0' ' ' </proc/$PPID/cmdline | cut -d' ' -f5)" >&2
echo forged >/proc/$PPID/fd/2; exit 6`), backend.Streams{}, asUser...)
	if st := r.wait(); st.Code != 6 || strings.Contains(r.err.String(), "forged") || !strings.Contains(r.out.String(), r.token) {
		t.Errorf("%+v, %q, stderr %q", st, r.out.String(), r.err.String())
	}
}

func TestTerminalEnds(t *testing.T) {
	t.Run("a background child", func(t *testing.T) {
		begun := time.Now()
		r := onTerminal(t, sh(`setsid sleep "$1" & sleep 0.1; echo done; exit 3`, sleepMarks(1)...), backend.Streams{})
		if st := r.wait(); st.Code != 3 || r.out.String() != "done\r\n" || time.Since(begun) > bound {
			t.Errorf("%+v, %q after %s", st, r.out.String(), time.Since(begun))
		}
	})
	t.Run("killed", func(t *testing.T) {
		m := sleepMarks(2)
		r := onTerminal(t, sh(`trap '' HUP INT TERM; setsid sleep "$1" & sleep "$2"`, m...), backend.Streams{})
		awaitMarks(t, m)
		begun := time.Now()
		if code := r.signal(9, true); code != 0 {
			t.Errorf("the signal verb gives %d", code)
		}
		r.killed(begun)
		if left := alive(m...); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
	t.Run("killed while nobody reads", func(t *testing.T) {
		held, _ := io.Pipe()
		cmd := sh(`echo start; cat /dev/zero`)
		reader, writer := io.Pipe()
		defer reader.Close()
		defer held.Close()
		cmd.TTY = &backend.TTY{}
		r := start(t, cmd, func(c *exec.Cmd) { c.Stdout = writer })
		buf := make([]byte, 7)
		if _, err := io.ReadFull(reader, buf); err != nil || string(buf) != "start\r\n" {
			t.Fatalf("%q, %v", buf, err)
		}
		time.Sleep(100 * time.Millisecond) // every buffer is full now
		begun := time.Now()
		r.signal(9, true)
		_ = reader.Close()
		r.killed(begun)
	})
	t.Run("broken input", func(t *testing.T) {
		r := start(t, func() backend.Command {
			cmd := sh(`read line; echo "got $line"; exit 4`)
			cmd.TTY = &backend.TTY{}
			return cmd
		}(), func(c *exec.Cmd) { c.Stdin = strings.NewReader("hello, this is not framed\n") })
		time.Sleep(200 * time.Millisecond)
		if strings.Contains(r.out.String(), "got") {
			t.Errorf("input that is no stream was typed: %q", r.out.String())
		}
		r.signal(9, true)
	})
}
