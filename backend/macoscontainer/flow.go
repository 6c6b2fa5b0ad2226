package macoscontainer

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// quietTime is how long nothing may come before output counts as at its end,
// once the command itself has ended.
const quietTime = 300 * time.Millisecond

// flow is a command's standard output on its way to the caller.
type flow struct {
	to   io.Writer
	last atomic.Int64 // unix nanoseconds of the last bytes
	busy atomic.Int64 // writes the caller has not taken yet
}

func newFlow(to io.Writer) *flow { return &flow{to: to} }

// writer is what the program writes to: a pipe that was made for the command
// alone is its own.
func (f *flow) writer() io.Writer {
	switch to := f.to.(type) {
	case nil:
		return nil
	case backend.PipeEnd:
		return to.File
	}
	return f
}

// Write implements io.Writer.
func (f *flow) Write(p []byte) (int, error) {
	f.busy.Add(1)
	defer f.busy.Add(-1)
	n, err := f.to.Write(p)
	f.last.Store(time.Now().UnixNano())
	return n, err
}

// quiet gives a channel that is closed when nothing has come for a while. A
// pipe's bytes are not seen here: it is never quiet, and its end tells.
func (f *flow) quiet(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	if _, ok := f.to.(backend.PipeEnd); ok {
		return done
	}
	f.last.CompareAndSwap(0, time.Now().UnixNano())
	since := time.Now()
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			last := time.Unix(0, f.last.Load())
			if f.busy.Load() == 0 && time.Since(last) >= quietTime && time.Since(since) >= quietTime {
				return
			}
			time.Sleep(quietTime / 10)
		}
	}()
	return done
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
