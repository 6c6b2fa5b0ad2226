package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

const (
	// maxUnwritten is how many answers may wait for a client that does not read
	// before its next messages are left unread too.
	maxUnwritten = 2 * maxBacklog
	// flushTimeout bounds the writing of what is queued when the server stops.
	flushTimeout = time.Second
)

// stdio is one client on a pair of streams.
type stdio struct {
	server  *Server
	peer    *peer
	out     *outbox
	running gauge
}

// ServeStdio serves one client, one JSON-RPC message a line, until in ends or
// ctx does. At the end of in, running calls have EOFGrace to finish; then, or
// at the end of ctx at once, they are cancelled and have StopTimeout to return.
// It returns an error when calls ignored that, or out could not be written.
// Nothing but protocol is written to out. A read of in that blocks cannot be
// interrupted: the goroutine in it stays until the process ends.
func (s *Server) ServeStdio(ctx context.Context, in io.Reader, out io.Writer) error {
	c := &stdio{server: s, peer: newPeer("stdio-" + rand.Text()), out: newOutbox()}
	// Calls outlive ctx until they are cancelled with a cause of ours.
	calls, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()

	written := make(chan error, 1)
	go func() {
		written <- writeFrames(calls, c.out, out)
		stopReading()
	}()
	c.read(reading, calls, readLines(reading, in, s.limits.MaxMessage))
	return c.stop(reading, written)
}

// read takes lines until there are no more or reading ends.
func (c *stdio) read(reading, calls context.Context, lines <-chan line) {
	for {
		select {
		case l, more := <-lines:
			if !more {
				return
			}
			c.take(reading, calls, l)
		case <-reading.Done():
			return
		}
	}
}

// take handles one line on the read loop; only requests that may take time
// leave it.
func (c *stdio) take(reading, calls context.Context, l line) {
	if l.tooLong {
		c.fault(&fault{code: mcp.INVALID_REQUEST, text: fmt.Sprintf("the message is longer than %d bytes; send less at once, large files by path", c.server.limits.MaxMessage)})
		return
	}
	m, f := parseMessage(l.data)
	switch {
	case f != nil:
		c.fault(f)
	case m.kind == notification:
		c.peer.notify(m)
	case m.kind == request:
		c.running.enter()
		c.server.begin(calls, delivery{peer: c.peer, out: c.out, done: c.running.leave}, m)
	}
	c.out.settle(reading, maxUnwritten)
}

func (c *stdio) fault(f *fault) { c.out.put(frame{data: f.encode()}) }

// stop ends the calls and writes what is left, in bounded time.
func (c *stdio) stop(reading context.Context, written <-chan error) error {
	limits := c.server.limits
	grace, done := context.WithTimeout(reading, limits.EOFGrace)
	c.running.wait(grace)
	done()
	c.peer.inflight.endAll(errStopping)
	timeout, done := context.WithTimeout(context.WithoutCancel(reading), limits.StopTimeout)
	left := c.running.wait(timeout)
	done()
	c.out.close()
	select {
	case err := <-written:
		if err != nil {
			return fmt.Errorf("cannot write to the client, so it was given up: %w", err)
		}
	case <-time.After(flushTimeout):
		return fmt.Errorf("the client did not read its answers within %s after the end; they are lost", flushTimeout)
	}
	if left > 0 {
		return fmt.Errorf("%d calls did not stop within %s of being cancelled; what they started may be left, run cleanup", left, limits.StopTimeout)
	}
	return nil
}

// writeFrames writes each frame as one line in one Write, until the outbox is
// closed and empty.
func writeFrames(ctx context.Context, from *outbox, to io.Writer) error {
	for {
		f, why := from.take(ctx, 0)
		if why != took {
			return nil
		}
		if _, err := to.Write(append(f.data, '\n')); err != nil {
			return err
		}
	}
}
