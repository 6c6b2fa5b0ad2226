package egress

import (
	"errors"
	"io"
)

// stage is a part of what a body goes through on its way: a bound that it
// counts against, a search for what must not pass. It may hold bytes back and
// change them; what it lets go is valid until its next call. A refusal ends the
// exchange, and nothing of that piece goes on.
type stage interface {
	// pass takes a piece of the body and returns what may go on by now.
	pass(piece []byte) ([]byte, *refusal)
	// end returns what was held back, once the body is at its end.
	end() ([]byte, *refusal)
}

// stages are in the order in which a body goes through them.
type stages []stage

func (s stages) pass(piece []byte) ([]byte, *refusal) {
	for _, st := range s {
		var no *refusal
		if piece, no = st.pass(piece); no != nil {
			return nil, no
		}
	}
	return piece, nil
}

// end sends what each stage held back through those behind it.
func (s stages) end() ([]byte, *refusal) {
	var rest []byte
	for i, st := range s {
		held, no := st.end()
		if no != nil {
			return nil, no
		}
		if len(held) == 0 {
			continue
		}
		held, no = s[i+1:].pass(held)
		if no != nil {
			return nil, no
		}
		rest = append(rest, held...)
	}
	return rest, nil
}

// staged reads a body through stages.
type staged struct {
	from   io.Reader
	stages stages
	refuse func(*refusal) // told once, before Read returns the refusal
	ready  []byte
	err    error // what Read returns when nothing is ready
}

// begin reads until something may go on, or nothing will.
func (s *staged) begin(size int) error {
	if len(s.stages) == 0 {
		return nil
	}
	first := make([]byte, size)
	n, err := s.Read(first)
	s.ready = append(first[:n:n], s.ready...)
	if errors.Is(err, io.EOF) {
		return nil // Read says so once more
	}
	return err
}

// Read implements io.Reader.
func (s *staged) Read(p []byte) (int, error) {
	if len(s.stages) == 0 {
		return s.from.Read(p)
	}
	for len(s.ready) == 0 && s.err == nil && len(p) > 0 {
		n, err := s.from.Read(p)
		var no *refusal
		if n > 0 {
			s.ready, no = s.stages.pass(p[:n])
		}
		if no == nil && errors.Is(err, io.EOF) {
			// Ending is a next call: what was let go is not valid after it.
			ready := append([]byte(nil), s.ready...)
			var rest []byte
			rest, no = s.stages.end()
			s.ready = append(ready, rest...)
		}
		if no != nil {
			s.ready, err = nil, no
			s.refuse(no)
		}
		s.err = err
	}
	n := copy(p, s.ready)
	if s.ready = s.ready[n:]; len(s.ready) > 0 {
		s.ready = append([]byte(nil), s.ready...) // p is the caller's again
		return n, nil
	}
	return n, s.err
}
