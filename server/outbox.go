package server

import (
	"context"
	"sync"
	"time"
)

// maxBacklog is how many frames may wait before progress is dropped. Answers
// are never dropped; their number is bounded by the running requests.
const maxBacklog = 1024

// outbox is an ordered queue of frames to one client. Putting never blocks, so
// a client that does not read stops neither a handler nor the reading of its
// own cancels; one consumer takes.
type outbox struct {
	mu     sync.Mutex
	frames []frame
	closed bool
	wake   chan struct{} // something was put
	room   chan struct{} // something was taken
}

// frame is one encoded message. last marks the answer that ends an HTTP
// response.
type frame struct {
	data []byte
	last bool
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put appends a frame.
func (b *outbox) put(f frame) {
	b.mu.Lock()
	if !b.closed {
		b.frames = append(b.frames, f)
	}
	b.mu.Unlock()
	signal(b.wake)
}

// offer appends a frame that may be dropped, and is when many wait.
func (b *outbox) offer(data []byte) {
	b.mu.Lock()
	if !b.closed && len(b.frames) < maxBacklog {
		b.frames = append(b.frames, frame{data: data})
	}
	b.mu.Unlock()
	signal(b.wake)
}

// close ends the queue behind what it holds.
func (b *outbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	signal(b.wake)
}

// signal wakes the one goroutine that waits on c, now or when it next does.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// outcome says why take returned.
type outcome int

const (
	took   outcome = iota + 1 // a frame
	silent                    // nothing within the time given
	drained
	gone // ctx has ended
)

// take waits for the next frame, at most quiet when that is above zero.
func (b *outbox) take(ctx context.Context, quiet time.Duration) (frame, outcome) {
	var timer <-chan time.Time
	if quiet > 0 {
		t := time.NewTimer(quiet)
		defer t.Stop()
		timer = t.C
	}
	for {
		b.mu.Lock()
		if len(b.frames) > 0 {
			f := b.frames[0]
			b.frames[0] = frame{}
			b.frames = b.frames[1:]
			b.mu.Unlock()
			signal(b.room)
			return f, took
		}
		closed := b.closed
		b.mu.Unlock()
		if closed {
			return frame{}, drained
		}
		select {
		case <-b.wake:
		case <-timer:
			return frame{}, silent
		case <-ctx.Done():
			return frame{}, gone
		}
	}
}

// settle waits until fewer than limit frames wait, or ctx ends. A client that
// sends without reading is slowed down here instead of filling the memory.
func (b *outbox) settle(ctx context.Context, limit int) {
	for {
		b.mu.Lock()
		waiting := len(b.frames)
		b.mu.Unlock()
		if waiting < limit {
			return
		}
		select {
		case <-b.room:
		case <-ctx.Done():
			return
		}
	}
}
