package terminal

import (
	"io"
	"sync"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Input is what a guest's half reads: a stream of frames made from what somebody
// types and from the sizes of the window. It ends when it is closed.
type Input struct {
	*io.PipeReader

	done chan struct{}
	once sync.Once
}

// NewInput returns the stream of a command's streams, of which each part may be
// nil. A Read of stdin that blocks beyond Close keeps one goroutine until it
// returns.
func NewInput(streams backend.Streams) *Input {
	r, w := io.Pipe()
	in := &Input{PipeReader: r, done: make(chan struct{})}
	if streams.Stdin != nil {
		go typed(w, streams.Stdin)
	}
	if streams.Resize != nil {
		go in.sized(w, streams.Resize)
	}
	return in
}

// Close ends the stream for its reader and its writers.
func (in *Input) Close() error {
	in.once.Do(func() { close(in.done) })
	return in.PipeReader.Close()
}

// typed passes input on, a frame for each read. The pipe takes a frame as a
// whole, so no size comes into the middle of one.
func typed(w *io.PipeWriter, stdin io.Reader) {
	buf, out := make([]byte, maxInput), []byte(nil)
	for {
		n, err := stdin.Read(buf)
		if n > 0 {
			out = frame(out[:0], kindInput, buf[:n])
			if _, werr := w.Write(out); werr != nil {
				return // nobody reads any more
			}
		}
		if err != nil {
			_, _ = w.Write(frame(nil, kindEnd, nil))
			return
		}
	}
}

func (in *Input) sized(w *io.PipeWriter, sizes <-chan backend.WindowSize) {
	for {
		select {
		case <-in.done:
			return
		case s, ok := <-sizes:
			if !ok {
				return
			}
			if _, err := w.Write(resizeFrame(s)); err != nil {
				return
			}
		}
	}
}
