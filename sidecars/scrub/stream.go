package scrub

import (
	"fmt"
	"sync"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const (
	// Least is the length in bytes below which a text is not looked for.
	Least = 8
	// heldFrom is from how many bytes on a beginning is held back. A shorter one
	// gives nothing away, and holding it would delay a binary message whose last
	// byte happens to be one's first.
	heldFrom = 4
	// maxForms bounds the bytes of all forms together, and with them memory;
	// shortForms and longForms are how often a secret is as long as itself in all
	// its forms, at most.
	maxForms   = 1 << 20
	shortForms = 130
	longForms  = 40
)

// Scrubber knows the secrets. It is safe for concurrent use.
type Scrubber struct{ automaton func() *automaton }

// New prepares the search for secrets. The work is done when the first text
// comes: most bottles never need it.
func New(secrets []secret.Value) (*Scrubber, error) {
	size := 0
	for _, s := range secrets {
		times := shortForms
		if len(s.Reveal()) >= longFrom {
			times = longForms
		}
		size += times * len(s.Reveal())
	}
	if size > maxForms {
		return nil, fmt.Errorf("the secrets to look for in answers can have %d bytes in all their forms, more than %d; give the bottle fewer or shorter ones", size, maxForms)
	}
	return &Scrubber{sync.OnceValue(func() *automaton {
		var all []form
		for _, s := range secrets {
			if len(s.Reveal()) >= Least {
				all = append(all, formsOf(s.Reveal())...)
			}
		}
		return newAutomaton(all)
	})}, nil
}

// Text overwrites the secrets in a text that is complete and reports whether
// there were any.
func (s *Scrubber) Text(text string) (string, bool) {
	stream := s.Stream()
	out := append(stream.Write([]byte(text)), stream.Close()...)
	if stream.Found() == 0 {
		return text, false
	}
	return string(out), true
}

// Stream returns a search through one text.
func (s *Scrubber) Stream() *Stream { return &Stream{a: s.automaton()} }

// Stream overwrites secrets in a text that comes in pieces.
type Stream struct {
	a     *automaton
	at    int32
	held  []byte // not given out yet
	out   []byte // what Write returned last
	found int
}

// Found counts what was overwritten.
func (s *Stream) Found() int { return s.found }

// Write takes a piece of the text and returns what may be given out by now,
// which is valid until the next call. The piece may be changed.
func (s *Stream) Write(piece []byte) []byte {
	if len(s.held) == 0 {
		return s.scan(piece, 0)
	}
	s.out = append(append(s.out[:0], s.held...), piece...)
	begun := len(s.held)
	s.held = s.held[:0]
	return s.scan(s.out, begun)
}

// scan reads the text from a position on; what precedes it was read before.
func (s *Stream) scan(text []byte, from int) []byte {
	a, at := s.a, s.at
	for i := from; i < len(text); i++ {
		if at != root {
			at = a.step(at, text[i])
		}
		if a.nodes[at].depth < 2 { // begin anew, with this byte
			if i = a.skip(text, i); i == len(text) {
				at = root
				break
			}
			at = a.first[text[i]]
		}
		if n := &a.nodes[at]; n.found > 0 {
			s.found++
			overwrite(text[max(0, i+1-int(n.found)):i+1], n.filler)
		}
	}
	s.at = at
	keep := int(a.nodes[at].held)
	if keep < heldFrom {
		keep = 0
	}
	keep = min(keep, len(text))
	s.held = append(s.held, text[len(text)-keep:]...)
	return text[:len(text)-keep]
}

func overwrite(b []byte, filler byte) {
	for i := range b {
		b[i] = filler
	}
}

// Close returns what is left of the text.
func (s *Stream) Close() []byte {
	rest := s.held
	s.held, s.at = nil, root
	return rest
}
