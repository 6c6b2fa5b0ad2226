package tools

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxStdin bounds what waits to be read by a job.
const maxStdin = 1 << 20

// stdinQueue is the standard input of a job. Writers never wait for the guest:
// what does not fit is refused as a whole.
type stdinQueue struct {
	mu      sync.Mutex
	grown   *sync.Cond
	waiting []byte
	closed  bool
}

// newStdinQueue begins with what is known already; keep leaves it open.
func newStdinQueue(first string, keep bool) *stdinQueue {
	q := &stdinQueue{waiting: []byte(first), closed: !keep}
	q.grown = sync.NewCond(&q.mu)
	return q
}

// Read waits for data or for the end.
func (q *stdinQueue) Read(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 {
		if q.closed {
			return 0, io.EOF
		}
		q.grown.Wait()
	}
	n := copy(p, q.waiting)
	q.waiting = q.waiting[n:]
	return n, nil
}

var errStdinClosed = errors.New("the job's standard input is closed: start it with keep_stdin to write later")

// push adds data and, when last is true, ends the input after it.
func (q *stdinQueue) push(data string, last bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errStdinClosed
	}
	if room := maxStdin - len(q.waiting); len(data) > room {
		return fmt.Errorf("the job has not read %d bytes of its standard input yet, and only %d more fit: poll it, then write again", len(q.waiting), room)
	}
	q.waiting = append(q.waiting, data...)
	q.closed = last
	q.grown.Broadcast()
	return nil
}

// end releases a reader after the job has ended.
func (q *stdinQueue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.waiting = nil
	q.grown.Broadcast()
}

func (q *stdinQueue) open() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.closed
}
