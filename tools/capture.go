package tools

import (
	"io"
	"sync"
)

// capture keeps what one command writes: the head and tail of each stream in
// memory, everything in a log. A guest may write without end and from two
// streams at once; memory stays bounded and the writers never block or fail.
type capture struct {
	mu       sync.Mutex
	out, err headTail
	log      *outputLog
}

// newCapture keeps limit bytes of each stream.
func newCapture(limit int, log *outputLog) *capture {
	return &capture{out: newHeadTail(limit), err: newHeadTail(limit), log: log}
}

// writer is the stream that fills into; tap, when not nil, sees every chunk
// too.
func (c *capture) writer(into *headTail, tap func([]byte)) io.Writer {
	return writerFunc(func(p []byte) {
		c.mu.Lock()
		into.write(p)
		c.log.write(p)
		c.mu.Unlock()
		if tap != nil {
			tap(p)
		}
	})
}

// writerFunc is an io.Writer that takes everything.
type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// output is what a capture shows: both streams, and where all of it is.
type output struct {
	stdout, stderr shown
	log            logState
}

// view shows at most head and tail bytes of each stream. When that leaves
// something out the log is made sure to exist.
func (c *capture) view(head, tail int) output {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := output{stdout: c.out.show(head, tail), stderr: c.err.show(head, tail)}
	if o.stdout.omitted > 0 || o.stderr.omitted > 0 {
		c.log.spill()
	}
	o.log = c.log.state()
	return o
}

// close ends the log; the memory stays readable.
func (c *capture) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.close()
}
