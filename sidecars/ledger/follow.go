package ledger

import (
	"errors"
	"fmt"
	"time"
)

// Anchor is the head of a ledger as somebody has seen it who is not its
// writer. It is kept where the writer cannot reach it: a ledger whose end was
// cut off, or that was written anew, does not hold it.
type Anchor struct {
	Bottle string    `json:"bottle"`
	Seq    uint64    `json:"seq"`
	Hash   string    `json:"hash"`
	Time   time.Time `json:"time"` // when it was seen
	// Broken is why the ledger was found damaged behind this line.
	Broken string `json:"broken,omitempty"`
}

// Follower reads a ledger while it is written and checks what is added. The
// zero value begins at the beginning.
type Follower struct {
	chain  Chain
	offset int64
	broken error
	known  *Anchor
}

// NewFollower returns a follower that also demands that the ledger holds what
// was seen of it before; known may be nil.
func NewFollower(known *Anchor) *Follower { return &Follower{known: known} }

// Poll reads what was added since the last call. An error means that the
// ledger was tampered with; it stays.
func (f *Follower) Poll(r *Reader, each func(*Entry)) error {
	if f.broken != nil {
		return f.broken
	}
	f.broken = f.poll(r, each)
	return f.broken
}

func (f *Follower) poll(r *Reader, each func(*Entry)) error {
	if r.End() < f.offset {
		return fmt.Errorf("the ledger had %d bytes and has %d", f.offset, r.End())
	}
	if r.End() == f.offset && f.known == nil {
		return nil // nothing was added, as most of the time
	}
	in, start := r.From(f.offset, r.End()-f.offset)
	if start > f.offset {
		f.chain = Chain{} // what was to come next was dropped by rotation
	}
	n, err := Lines(in, func(line []byte) error {
		e, err := f.chain.Feed(line)
		if err == nil {
			err = f.recognize(&e)
		}
		if err == nil {
			each(&e)
		}
		return err
	})
	f.offset = start + n
	if err == nil && f.known != nil && f.known.Seq < f.chain.Missed {
		f.known = nil // it was dropped
	}
	if err == nil && f.known != nil {
		err = fmt.Errorf("its end was cut off: number %d was there", f.known.Seq)
	}
	return err
}

// recognize compares a line with what was seen of it before.
func (f *Follower) recognize(e *Entry) error {
	if f.known == nil || e.Seq != f.known.Seq {
		return nil
	}
	if f.known.Hash != e.Hash {
		return errors.New("it was written anew")
	}
	f.known = nil
	return nil
}

// Seen is how many lines were read.
func (f *Follower) Seen() uint64 { return f.chain.Next }

// Counts are those of the ledger so far.
func (f *Follower) Counts() Counts { return f.chain.Counts }

// Anchor is the last line that was read; ok is false before the first.
func (f *Follower) Anchor() (a Anchor, ok bool) {
	if f.chain.Head == "" {
		return Anchor{}, false
	}
	a = Anchor{Bottle: f.chain.Bottle, Seq: f.chain.Next - 1, Hash: f.chain.Head}
	if f.broken != nil {
		a.Broken = f.broken.Error()
	}
	return a, true
}
