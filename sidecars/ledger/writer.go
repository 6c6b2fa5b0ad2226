package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// LayerLedger and ReasonLost are those of the line that stands for decisions
// which could not be recorded.
const (
	LayerLedger = "ledger"
	ReasonLost  = "audit_unavailable"
)

// store is where lines go.
type store interface {
	lock() (unlock func(), err error)
	catchUp(*Chain) error
	fits(n int) bool
	put(lines []byte) error
	rotate(*Chain, event) error
	sync() error
	// repaired takes the number of bytes that were cut off and not noted yet.
	repaired() int64
}

func (f *files) repaired() int64 {
	n := f.removed
	f.removed = 0
	return n
}

// stream is a store without files.
type stream struct{ out io.Writer }

func (s *stream) lock() (func(), error)      { return func() {}, nil }
func (s *stream) catchUp(*Chain) error       { return nil }
func (s *stream) fits(int) bool              { return true }
func (s *stream) rotate(*Chain, event) error { return ErrFull }
func (s *stream) sync() error                { return nil }
func (s *stream) repaired() int64            { return 0 }
func (s *stream) put(lines []byte) (err error) {
	n, err := s.out.Write(lines)
	if err == nil && n < len(lines) {
		err = io.ErrShortWrite
	}
	return err
}

// writer turns batches into lines. One goroutine uses it.
type writer struct {
	opts  *Options
	store store
	lost  *atomic.Int64

	chain     Chain
	begun     bool // this process's first line is written
	sinceMark int  // decisions since the last checkpoint
	filled    bool // it is noted that the ledger is full
	torn      int64
	lines     bytes.Buffer
	body      bytes.Buffer
}

// write writes a batch as a whole or not at all.
func (w *writer) write(batch []item) error {
	unlock, err := w.store.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := w.store.catchUp(&w.chain); err != nil {
		return err
	}
	w.torn += w.store.repaired()
	if w.chain.Last == TypeRotate {
		if err := w.store.rotate(&w.chain, w.event(TypeSegment)); err != nil {
			return err
		}
	}
	lost := w.lost.Load()
	next, err := w.encode(batch, lost)
	if err != nil {
		return err
	}
	if !w.store.fits(w.lines.Len()) {
		if err := w.store.rotate(&w.chain, w.event(TypeSegment)); err != nil {
			return errors.Join(err, w.noteFull(err))
		}
		if next, err = w.encode(batch, lost); err != nil {
			return err
		}
	}
	if err := w.store.put(w.lines.Bytes()); err != nil {
		return err
	}
	w.chain, w.begun, w.torn, w.filled = next, true, 0, false
	w.lost.Add(-lost)
	if w.sinceMark += len(batch); w.sinceMark >= checkpointEvery {
		w.sinceMark = 0
	}
	return nil
}

func (w *writer) event(kind Type) event {
	return event{Type: kind, Time: time.Now().UTC(), Bottle: w.opts.Bottle, Format: Format}
}

// encode fills lines with a batch and returns where the chain is after it.
func (w *writer) encode(batch []item, lost int64) (Chain, error) {
	w.lines.Reset()
	c := w.chain
	err := w.preamble(&c)
	if lost > 0 {
		gap := w.event(TypeNote)
		err = errors.Join(err, w.decision(&c, item{d: sidecars.Decision{
			Time: gap.Time, Bottle: w.opts.Bottle, Service: sidecars.Egress, Verdict: sidecars.Deny, Layer: LayerLedger, Reason: ReasonLost,
			Message: fmt.Sprintf("%d decisions could not be recorded because the log could not be written.", lost),
		}}))
	}
	for i := range batch {
		err = errors.Join(err, w.decision(&c, batch[i]))
	}
	if w.sinceMark+len(batch) >= checkpointEvery {
		mark := w.event(TypeCheckpoint)
		mark.Counts = &c.Counts
		err = errors.Join(err, c.extend(&w.lines, mark))
	}
	return c, err
}

// preamble is what has to be said before the first decision of a batch.
func (w *writer) preamble(c *Chain) error {
	var err error
	if w.torn > 0 {
		note := w.event(TypeNote)
		note.Message = fmt.Sprintf("The last line was cut short, as by a writer that was killed; its %d bytes were removed.", w.torn)
		err = c.extend(&w.lines, note)
	}
	if w.begun {
		return err
	}
	start := w.event(TypeStart)
	if c.Head == "" {
		start.Type = TypeGenesis
	}
	start.Policy, start.Program = w.opts.Policy, w.opts.Program
	return errors.Join(err, c.extend(&w.lines, start))
}

// decision adds a decision, or what is known of one so far.
func (w *writer) decision(c *Chain, it item) error {
	if it.kind == TypePolicy {
		e := w.event(TypePolicy)
		e.Policy = it.policy
		return c.extend(&w.lines, e)
	}
	w.body.Reset()
	enc := json.NewEncoder(&w.body)
	enc.SetEscapeHTML(false)
	var err error
	if it.d.Bottle == "" {
		it.d.Bottle = w.opts.Bottle
	}
	if it.kind == TypeDecision {
		err = enc.Encode(&it.d)
	} else {
		err = enc.Encode(ongoing{it.kind, it.d})
	}
	if err != nil {
		return fmt.Errorf("encode a line of the ledger: %w", err)
	}
	body := w.body.Bytes()
	hash := seal(&w.lines, c.Next, c.prev(), body[:len(body)-1])
	e := Entry{Seq: c.Next, Type: it.kind, Decision: it.d}
	c.pass(&e, hash)
	c.Bottle = w.opts.Bottle
	return nil
}

// noteFull writes once, beyond the bound, why nothing follows.
func (w *writer) noteFull(why error) error {
	if !errors.Is(why, ErrFull) || w.filled {
		return nil
	}
	w.filled = true
	note := w.event(TypeNote)
	note.Message = "The ledger is full: what is not recorded is refused, so nothing gets out any more."
	note.Counts = &w.chain.Counts
	return w.chain.write(note, w.store.put) // whatever there is room for
}

// stop writes the last line, beyond the bound when it must.
func (w *writer) stop() error {
	unlock, err := w.store.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := w.store.catchUp(&w.chain); err != nil {
		return err
	}
	if !w.begun || w.chain.Last == TypeRotate {
		return nil // there is nothing to end
	}
	end := w.event(TypeStop)
	end.Counts = &w.chain.Counts
	return w.chain.write(end, w.store.put)
}
