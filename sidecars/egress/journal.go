package egress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

const (
	maxText      = 512 // bytes of any guest-chosen string in the log
	journalQueue = 256
	// journalBatch is how many bytes one write may gather while lines wait.
	journalBatch = 64 << 10
	// journalWait is how long a request waits for a place in the queue.
	journalWait  = time.Second
	journalClose = 2 * time.Second
)

// journal writes decisions as JSON lines from one goroutine, so that a slow
// reader of the log cannot hold up traffic for ever. When it cannot write, the
// proxy refuses requests until it can: what is not recorded must not happen.
type journal struct {
	out    io.Writer
	queue  chan entry
	done   chan struct{}
	failed atomic.Bool
	lost   atomic.Int64

	mu     sync.RWMutex // held for reading while adding, for writing to close
	closed bool
}

// entry is a decision on its way to the log, and who waits until it is there.
type entry struct {
	d       sidecars.Decision
	written chan struct{} // nil when nobody waits
}

func newJournal(out io.Writer) *journal {
	return &journal{out: out, queue: make(chan entry, journalQueue), done: make(chan struct{})}
}

// healthy reports whether the last line could be written.
func (j *journal) healthy() bool { return !j.failed.Load() && j.lost.Load() == 0 }

// add queues one decision. After journalWait it gives up and counts it lost.
func (j *journal) add(d sidecars.Decision) { j.enqueue(entry{d: d}) }

// addNow is add, and waits until the line is in the log: who learns of a
// refusal finds its record. It waits no longer than journalWait.
func (j *journal) addNow(d sidecars.Decision) {
	e := entry{d: d, written: make(chan struct{})}
	if !j.enqueue(e) {
		return
	}
	timer := time.NewTimer(journalWait)
	defer timer.Stop()
	select {
	case <-e.written:
	case <-timer.C:
	}
}

// enqueue reports whether the entry will be written.
func (j *journal) enqueue(e entry) bool {
	d := &e.d
	d.Host, d.Path, d.Method = clean(d.Host), clean(d.Path), clean(d.Method)
	d.Message, d.Rule = clean(d.Message), clean(d.Rule)
	j.mu.RLock()
	defer j.mu.RUnlock()
	if j.closed {
		return false
	}
	select {
	case j.queue <- e:
		return true
	default:
	}
	timer := time.NewTimer(journalWait)
	defer timer.Stop()
	select {
	case j.queue <- e:
		return true
	case <-timer.C:
		j.lost.Add(1)
		return false
	}
}

// run writes until close. Lines that wait together go out in one write.
func (j *journal) run() {
	defer close(j.done)
	var batch bytes.Buffer
	enc := json.NewEncoder(&batch)
	enc.SetEscapeHTML(false)
	var waiting []chan struct{}
	take := func(e entry) {
		j.encode(enc, e.d)
		if e.written != nil {
			waiting = append(waiting, e.written)
		}
	}
	for e := range j.queue {
		take(e)
		for more := true; more && batch.Len() < journalBatch; {
			select {
			case next, ok := <-j.queue:
				if more = ok; ok {
					take(next)
				}
			default:
				more = false
			}
		}
		_, err := j.out.Write(batch.Bytes())
		j.failed.Store(err != nil)
		batch.Reset()
		for _, w := range waiting {
			close(w)
		}
		waiting = waiting[:0]
	}
}

// encode adds a line, and before it one about lines lost.
func (j *journal) encode(enc *json.Encoder, d sidecars.Decision) {
	if n := j.lost.Swap(0); n > 0 {
		gap := sidecars.Decision{Time: d.Time, Bottle: d.Bottle, Service: d.Service, Verdict: sidecars.Deny, Layer: layerProxy,
			Reason: reasonAudit, Message: fmt.Sprintf("%d decisions could not be recorded because the log was not read.", n)}
		if enc.Encode(gap) != nil {
			j.failed.Store(true)
		}
	}
	if enc.Encode(d) != nil {
		j.failed.Store(true)
	}
}

// close writes what is queued. It returns an error when the log is not read in
// time.
func (j *journal) close() error {
	j.mu.Lock()
	if !j.closed {
		j.closed = true
		close(j.queue)
	}
	j.mu.Unlock()
	select {
	case <-j.done:
		return nil
	case <-time.After(journalClose):
		return errors.New("egress log: its reader takes nothing, the last decisions are lost; check the process that reads it")
	}
}

// clean bounds s and replaces what is not printable ASCII, so that no terminal
// or log viewer acts on what a guest wrote.
func clean(s string) string {
	plain := true
	for _, c := range []byte(s) {
		plain = plain && c >= ' ' && c <= '~'
	}
	if plain && len(s) <= maxText {
		return s
	}
	cut := s[:min(len(s), maxText-3)]
	out := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, cut)
	if len(cut) < len(s) {
		out += "..."
	}
	return out
}
