package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Chain is a place in a ledger: everything up to it is known to belong
// together. The zero value is the place before the first line.
type Chain struct {
	// Next is the number of the line that comes next.
	Next uint64
	// Head is the hash of the line before it.
	Head string
	// Counts are those of the lines so far.
	Counts Counts
	// Bottle is whose ledger it is.
	Bottle string
	// Last is the type of the line before.
	Last Type
	// Missed is how many lines were dropped by rotation before the first one.
	Missed uint64
}

// Feed checks that line, which ends in a line feed, comes next, and goes past
// it. After an error the chain is where it was.
func (c *Chain) Feed(line []byte) (Entry, error) {
	at, err := unseal(line)
	if err != nil {
		return Entry{}, err
	}
	e, err := Decode(line)
	if err != nil {
		return Entry{}, fmt.Errorf("it is no entry: %w", err)
	}
	next := *c
	if c.Head == "" {
		err = next.begin(&e, at)
	} else {
		err = next.follow(&e, at)
	}
	if err != nil {
		return Entry{}, err
	}
	next.pass(&e, at.hash)
	if e.Counts != nil && *e.Counts != next.Counts {
		return Entry{}, errors.New("its counts are not those of the lines before it")
	}
	*c = next
	return e, nil
}

// begin accepts the first line: a genesis, or that of a file whose
// predecessors were dropped.
func (c *Chain) begin(e *Entry, at place) error {
	c.Bottle = e.Bottle
	switch {
	case e.Type == TypeSegment && e.Counts != nil:
		c.Missed, c.Counts = at.seq, *e.Counts
		return nil
	case e.Type != TypeGenesis:
		return errors.New("it is the first one and does not begin a ledger")
	case at.seq != 0 || at.prev != origin:
		return errors.New("it begins a ledger and names a line before it")
	case e.Format != Format:
		return fmt.Errorf("its format is %d, and this program reads %d", e.Format, Format)
	}
	return nil
}

func (c *Chain) follow(e *Entry, at place) error {
	switch {
	case at.seq != c.Next:
		return fmt.Errorf("its number is %d, and %d comes next", at.seq, c.Next)
	case at.prev != c.Head:
		return errors.New("it does not continue the line before it")
	case e.Bottle != c.Bottle:
		return errors.New("it is another bottle's")
	case (c.Last == TypeRotate) != (e.Type == TypeSegment):
		return errors.New("one file does not end where the next one begins")
	}
	return nil
}

// pass goes past an entry that is known to come next.
func (c *Chain) pass(e *Entry, hash string) {
	if e.Type == TypeDecision {
		c.Counts.add(&e.Decision)
	}
	c.Next, c.Head, c.Last = e.Seq+1, hash, e.Type
}

// torn reports whether rest, which follows the last whole line, is what a
// writer leaves that died in the middle of a line: its beginning, or the zeros
// of a file system that lost power. Anything else was put there.
func (c *Chain) torn(rest []byte) bool {
	if len(bytes.Trim(rest, "\x00")) == 0 {
		return true
	}
	if len(rest) >= MaxLine {
		return false
	}
	begin := fmt.Sprintf(`%s%d%s%s"`, seqMark, c.Next, prevMark, c.prev())
	if !strings.HasPrefix(begin, string(rest[:min(len(rest), len(begin))])) {
		return false
	}
	// A line that is all there but for its end, and then something else.
	i := bytes.LastIndex(rest, []byte(hashMark))
	return i < 0 || len(rest)-i < tailLen && strings.HasPrefix(`"}`, string(rest[min(len(rest), i+len(hashMark)+hashLen):]))
}

func (c *Chain) prev() string {
	if c.Head == "" {
		return origin
	}
	return c.Head
}
