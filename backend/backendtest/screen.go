package backendtest

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// screen is a person at a terminal.
type screen struct {
	t      *testing.T
	b      *bottle
	out    *waiter
	errOut *waiter
	typed  *io.PipeWriter
	sizes  chan backend.WindowSize
	signal chan int
	cancel context.CancelFunc
	done   chan result
}

// onTerminal is a command on a terminal of 24 by 80.
func onTerminal(cmd backend.Command) backend.Command {
	cmd.TTY = &backend.TTY{Term: "vt100", Size: backend.WindowSize{Rows: 24, Cols: 80}}
	return cmd
}

// sit starts a script on a terminal. It is cancelled with t.
func (b *bottle) sit(t *testing.T, cmd backend.Command) *screen {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTime)
	keys, typed := io.Pipe()
	s := &screen{
		t: t, b: b, out: &waiter{}, errOut: &waiter{}, typed: typed, cancel: cancel, done: make(chan result, 1),
		sizes: make(chan backend.WindowSize), signal: make(chan int),
	}
	t.Cleanup(func() { cancel(); _ = typed.Close() })
	go func() {
		start := time.Now()
		status, err := b.s.Backend.Exec(ctx, b.id, onTerminal(cmd), backend.Streams{
			Stdin: keys, Stdout: s.out, Stderr: s.errOut, Resize: s.sizes, Signals: s.signal,
		})
		_ = keys.Close() // so that nobody types on
		s.done <- result{ExitStatus: status, stdout: s.out.String(), stderr: s.errOut.String(), err: err, took: time.Since(start)}
	}()
	return s
}

func (s *screen) types(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.typed, text); err != nil {
		s.t.Errorf("%q cannot be typed any more: %v", text, err)
	}
}

func (s *screen) sees(text string) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); !s.out.has(text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("the screen shows %.500q, want %q", s.out.String(), text)
		}
	}
}

// ends waits for the command.
func (s *screen) ends(within time.Duration) result {
	s.t.Helper()
	select {
	case r := <-s.done:
		if r.stderr != "" {
			s.t.Errorf("standard error got %q: a terminal has one stream", r.stderr)
		}
		return r
	case <-time.After(within):
		s.t.Fatalf("the command does not end within %s; the screen shows %q", within, s.out.String())
		return result{}
	}
}

// code demands that the command ended by itself with a code.
func (r result) code(t *testing.T, want int) {
	t.Helper()
	if r.err != nil || r.Code != want {
		t.Errorf("%+v, %v, %.300q; want code %d", r.ExitStatus, r.err, r.stdout, want)
	}
}
