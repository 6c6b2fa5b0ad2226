package backendtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// kill has commands that must be ended with everything they started.
func (s *suite) kill(t *testing.T) {
	b := s.launch(t)
	tests := map[string]struct {
		// script runs with the marks, which are times to sleep that nobody
		// else uses, so that its processes are told apart.
		script string
		marks  int
		grace  time.Duration
	}{
		"plain":         {`sleep $1`, 1, 0},
		"children":      {`sleep $1 & sleep $2 & wait`, 2, 0},
		"ignoring":      {`trap '' TERM INT HUP QUIT; sleep $1 & while :; do sleep 0.1; done`, 1, 200 * time.Millisecond},
		"own session":   {`setsid sleep $1 & wait`, 1, 0},
		"daemons":       {`(setsid sh -c 'trap "" TERM HUP; sleep '$1' & sleep '$2 &) ; (sleep $3 &) ; sleep $4`, 4, 0},
		"deep":          {`sh -c "sh -c 'setsid sh -c \"sleep $1 & wait\" & wait' & wait" & sleep $2`, 2, 0},
		"with grace":    {`sleep $1`, 1, 500 * time.Millisecond},
		"long grace":    {`trap '' TERM; sleep $1 & while :; do sleep 0.1; done`, 1, time.Hour},
		"closed output": {`exec >/dev/null 2>&1; setsid sleep $1 & sleep $2`, 2, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			marks := sleepMarks(tt.marks)
			cmd := script0(tt.script, marks...)
			cmd.Grace = tt.grace
			b.cancelled(t, cmd, marks)
		})
	}
	t.Run("graceful end", b.gracefulEnd)
	t.Run("deadline", b.deadline)
	t.Run("flood", b.flood)
	t.Run("others live on", b.othersLiveOn)
}

// sleepMarks returns times of some hours that nothing else sleeps for.
func sleepMarks(n int) []string {
	var out []string
	for range n {
		out = append(out, fmt.Sprintf("9%05d.5", serial.Add(1)))
	}
	return out
}

// cancelled runs cmd until all of marks are seen in the guest, ends it, and
// demands that within a second the call returns and nothing is left.
func (b *bottle) cancelled(t *testing.T, cmd backend.Command, marks []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan result, 1)
	go func() { done <- b.try(ctx, cmd, "") }()
	await(t, 10*time.Second, "the tree has started", func() bool {
		seen := b.processes(t)
		for _, m := range marks {
			if !strings.Contains(seen, m) {
				return false
			}
		}
		return true
	})
	start := time.Now()
	cancel()
	bound := killBound + min(cmd.Grace, time.Second)
	select {
	case r := <-done:
		if took := time.Since(start); took > bound {
			t.Errorf("Exec returned %s after its context ended", took)
		}
		if !errors.Is(r.err, context.Canceled) {
			t.Errorf("Exec: %v, want the context's error", r.err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Exec does not return although its context ended")
	}
	left := b.processes(t)
	for _, m := range marks {
		if strings.Contains(left, m) {
			t.Errorf("a process of the command is left: sleep %s", m)
		}
	}
}

// gracefulEnd lets a command end itself on SIGTERM, and its last words arrive.
func (b *bottle) gracefulEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &waiter{}
	cmd := script0(`trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.02; done`)
	cmd.Grace = time.Second
	done := make(chan error, 1)
	go func() {
		_, err := b.s.Backend.Exec(ctx, b.id, cmd, backend.Streams{Stdout: out})
		done <- err
	}()
	await(t, slack, "the command is ready", func() bool { return out.has("ready") })
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) || !out.has("bye") {
			t.Errorf("error %v, said bye: %v", err, out.has("bye"))
		}
	case <-time.After(5 * time.Second):
		t.Error("the command does not end")
	}
}

func (b *bottle) deadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r := b.try(ctx, script0("echo early; sleep 60"), "")
	if !errors.Is(r.err, context.DeadlineExceeded) || r.stdout != "early\n" || r.took > 300*time.Millisecond+killBound {
		t.Errorf("%v, %q after %s", r.err, r.stdout, r.took)
	}
}

// stuck is a writer that takes nothing, like a client that has gone.
type stuck struct{ stop <-chan struct{} }

func (s stuck) Write(p []byte) (int, error) { <-s.stop; return len(p), nil }

// flood cancels a command that writes more than anybody reads.
func (b *bottle) flood(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	stop := make(chan struct{})
	release := time.AfterFunc(3*time.Second, func() { close(stop) })
	defer release.Stop()
	start := time.Now()
	_, err := b.s.Backend.Exec(ctx, b.id, script0("cat /dev/zero"), backend.Streams{Stdout: stuck{stop}})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	if left := b.processes(t); strings.Contains(left, "/dev/zero") {
		t.Error("the flooding process is left")
	}
}

// othersLiveOn ends one of two commands.
func (b *bottle) othersLiveOn(t *testing.T) {
	marks := sleepMarks(2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan result, 1)
	go func() { done <- b.try(ctx, script0("sleep $1", marks[0]), "") }()
	await(t, slack, "the first command runs", func() bool { return strings.Contains(b.processes(t), marks[0]) })
	b.cancelled(t, script0("setsid sleep $1 & wait", marks[1]), marks[1:])
	if !strings.Contains(b.processes(t), marks[0]) {
		t.Error("ending one command ended another")
	}
	cancel()
	<-done
}
