package tools

import (
	"bytes"
	"fmt"
	"sync"
	"time"
)

// Bounds of the output that is shown while a command runs: at most one message
// a period, each of at most these bytes.
const (
	linePeriod   = 100 * time.Millisecond
	lineBytes    = 2 << 10
	partialAfter = 10 // periods until a line without an end is shown
)

// liveLines turns output into progress messages. What comes faster than it may
// be shown is counted and left out; the result has it.
type liveLines struct {
	progress *progress

	mu      sync.Mutex
	pending []byte
	dropped int
	waited  int // periods since the first byte of an unfinished line
	done    chan struct{}
	ended   sync.WaitGroup
}

// newLiveLines is nil when nobody wants progress; a nil *liveLines does nothing.
func newLiveLines(p *progress) *liveLines {
	if !p.wanted() {
		return nil
	}
	l := &liveLines{progress: p, done: make(chan struct{})}
	l.ended.Go(l.run)
	return l
}

// tap is what a capture calls with every chunk, nil when nobody listens.
func (l *liveLines) tap() func([]byte) {
	if l == nil {
		return nil
	}
	return l.feed
}

func (l *liveLines) feed(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(lineBytes-len(l.pending), len(p))
	l.pending = append(l.pending, p[:n]...)
	l.dropped += len(p) - n
}

func (l *liveLines) run() {
	ticker := time.NewTicker(linePeriod)
	defer ticker.Stop()
	for {
		select {
		case <-l.done:
			l.flush(true)
			return
		case <-ticker.C:
			l.flush(false)
		}
	}
}

// stop shows what is left and returns when nothing more will be reported.
func (l *liveLines) stop() {
	if l != nil {
		close(l.done)
		l.ended.Wait()
	}
}

func (l *liveLines) flush(all bool) {
	if message := l.take(all); message != "" {
		l.progress.text("running", message)
	}
}

// take removes the finished lines from pending, or all of it when it has
// waited long, is full, or nothing more will come.
func (l *liveLines) take(all bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) == 0 {
		return ""
	}
	l.waited++
	end := bytes.LastIndexByte(l.pending, '\n') + 1
	if all || l.dropped > 0 || l.waited >= partialAfter {
		end = len(l.pending)
	}
	if end == 0 {
		return ""
	}
	message := clean(bytes.TrimRight(l.pending[:end], "\r\n"))
	if l.dropped > 0 {
		message += fmt.Sprintf("\n[… %d bytes not shown here …]", l.dropped)
	}
	l.pending = append(l.pending[:0], l.pending[end:]...)
	l.dropped, l.waited = 0, 0
	return message
}
