//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
	"github.com/bottle-mcp/bottle-mcp/backend/terminal"
)

// Timings of a command's end.
const (
	// drainTime is how long output is still read after the command ended, when
	// something it left behind holds the pipe open.
	drainTime = 200 * time.Millisecond
	// ttyDrainTime is the same where PID 1 alone has the pipe and has ended its
	// output: only a slow reader on this side keeps it.
	ttyDrainTime = 10 * time.Second
	// maxGrace is the longest time between SIGTERM and SIGKILL.
	maxGrace = time.Second
	// killTime is how long the guest may take to kill a tree.
	killTime = 5 * time.Second
)

// Exec implements backend.Backend. The command's streams are pipes made here,
// whose ends travel to the guest: bytes flow without a hop, and no descriptor
// of this process is ever the guest's.
func (b *Backend) Exec(ctx context.Context, id backend.ID, cmd backend.Command, streams backend.Streams) (backend.ExitStatus, error) {
	if len(cmd.Argv) == 0 {
		return backend.ExitStatus{}, fmt.Errorf("run a command in bottle %s: the command is empty", id)
	}
	if err := ctx.Err(); err != nil {
		return backend.ExitStatus{}, fmt.Errorf("run a command in bottle %s: %w", id, err)
	}
	conn, err := b.dial(ctx, id)
	if err != nil {
		return backend.ExitStatus{}, err
	}
	defer func() { _ = conn.Close() }()
	req := shim.Request{Op: shim.OpExec, Argv: raw(cmd.Argv), Dir: []byte(cmd.Dir), User: cmd.User, Env: raw(cmd.Environ())}
	drain := drainTime
	if cmd.TTY != nil {
		input := terminal.NewInput(streams)
		defer func() { _ = input.Close() }() // it has no error to tell
		streams.Stdin, streams.Stderr = input, nil
		req.TTY, drain = &cmd.TTY.Size, ttyDrainTime
	}
	p, err := newPipes(streams)
	if err != nil {
		return backend.ExitStatus{}, fmt.Errorf("run a command in bottle %s: %w", id, err)
	}
	defer p.close()
	if err := conn.Send(req, p.guestFDs()...); err != nil {
		return backend.ExitStatus{}, fmt.Errorf("run a command in bottle %s: %w", id, errors.Join(err, backend.ErrNotRunning))
	}
	p.start()
	st, err := await(ctx, conn, cmd.Grace, streams.Signals)
	p.drain(ctx, drain)
	if err != nil {
		return st, fmt.Errorf("run a command in bottle %s: %w", id, err)
	}
	return st, nil
}

// await waits for the command's end, passes signals on and kills its tree when
// ctx ends.
func await(ctx context.Context, conn *frame.Conn, grace time.Duration, signals <-chan int) (backend.ExitStatus, error) {
	replies := make(chan shim.Reply, 1)
	go func() {
		var r shim.Reply
		if err := conn.Recv(&r); err != nil {
			r = shim.Reply{Error: "the bottle ended while the command ran", Code: shim.CodeNotRunning}
		}
		replies <- r
	}()
	done := ctx.Done()
	var force, giveUp <-chan time.Time
	for {
		select {
		case r := <-replies:
			if ctx.Err() != nil {
				return backend.ExitStatus{}, context.Cause(ctx)
			}
			if r.Status == nil {
				return backend.ExitStatus{}, r.Err()
			}
			return *r.Status, nil
		case sig, ok := <-signals:
			if !ok {
				signals = nil
				continue
			}
			_ = conn.Send(shim.Request{Op: shim.OpSignal, Signal: sig})
		case <-done:
			done = nil
			if grace > 0 {
				_ = conn.Send(shim.Request{Op: shim.OpSignal, Signal: sigTerm})
			}
			force = time.After(min(grace, maxGrace))
		case <-force:
			_ = conn.Send(shim.Request{Op: shim.OpKill})
			giveUp = time.After(killTime)
		case <-giveUp:
			return backend.ExitStatus{}, fmt.Errorf("the guest did not end the command in %s: remove the bottle: %w", killTime, context.Cause(ctx))
		}
	}
}

const sigTerm = 15

func raw(texts []string) [][]byte {
	out := make([][]byte, len(texts))
	for i, t := range texts {
		out[i] = []byte(t)
	}
	return out
}

// pipes connects a command's streams with the caller's.
type pipes struct {
	streams        backend.Streams
	guest, host    [3]*os.File // stdin, stdout, stderr
	output         sync.WaitGroup
	outputDone     chan struct{}
	guestEndsGiven bool
}

func newPipes(streams backend.Streams) (*pipes, error) {
	p := &pipes{streams: streams, outputDone: make(chan struct{})}
	for i := range 3 {
		if end, ok := given(streams, i); ok {
			fd, err := unix.FcntlInt(end.Fd(), unix.F_DUPFD_CLOEXEC, 3)
			if err != nil {
				p.close()
				return nil, fmt.Errorf("copy a pipe's descriptor: %w", err)
			}
			p.guest[i] = os.NewFile(uintptr(fd), "given")
			continue
		}
		if absent(streams, i) {
			null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				p.close()
				return nil, err
			}
			p.guest[i] = null
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			p.close()
			return nil, err
		}
		p.guest[i], p.host[i] = w, r
		if i == 0 {
			p.guest[i], p.host[i] = r, w
		}
	}
	return p, nil
}

// given is the pipe end that the caller made for the command.
func given(s backend.Streams, i int) (backend.PipeEnd, bool) {
	var stream any
	switch i {
	case 0:
		stream = s.Stdin
	case 1:
		stream = s.Stdout
	}
	end, ok := stream.(backend.PipeEnd)
	return end, ok
}

func absent(s backend.Streams, i int) bool {
	return (i == 0 && s.Stdin == nil) || (i == 1 && s.Stdout == nil) || (i == 2 && s.Stderr == nil)
}

func (p *pipes) guestFDs() []int {
	return []int{int(p.guest[0].Fd()), int(p.guest[1].Fd()), int(p.guest[2].Fd())}
}

// start moves bytes; the guest's ends are now the guest's alone.
func (p *pipes) start() {
	for _, f := range p.guest {
		_ = f.Close()
	}
	p.guestEndsGiven = true
	if w := p.host[0]; w != nil {
		go func() {
			_, _ = io.Copy(w, p.streams.Stdin) // a command may end before its input does
			_ = w.Close()
		}()
	}
	for i, to := range map[int]io.Writer{1: p.streams.Stdout, 2: p.streams.Stderr} {
		if r := p.host[i]; r != nil {
			p.output.Go(func() {
				_, _ = io.Copy(to, r)
				_ = r.Close() // whoever still writes learns that nobody reads
			})
		}
	}
	go func() {
		p.output.Wait()
		close(p.outputDone)
	}()
}

// drain reads what is left of the output, for a while, and lets go.
func (p *pipes) drain(ctx context.Context, within time.Duration) {
	if ctx.Err() != nil {
		within = drainTime
	}
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-p.outputDone:
	case <-t.C:
		for _, f := range p.host[1:] {
			if f != nil {
				_ = f.SetReadDeadline(time.Now())
			}
		}
		<-p.outputDone // a writer of the caller's that blocks is the caller's
	}
}

func (p *pipes) close() {
	for i := range 3 {
		if !p.guestEndsGiven && p.guest[i] != nil {
			_ = p.guest[i].Close()
		}
		if p.host[i] != nil {
			_ = p.host[i].Close()
		}
	}
}
