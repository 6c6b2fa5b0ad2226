package policy

import (
	"regexp/syntax"
)

// within reports whether every normal path that the expression matches lies at
// or below prefix. It walks the expression's automaton along the prefix: up to
// its end nothing but its bytes may be possible, and after it nothing but a
// slash or the end. Conditions of zero width count as met, and states that
// lead nowhere as leading somewhere, so it may fail to see that something is
// within, but never the other way.
func (e *expr) within(prefix string) bool {
	if prefix == "/" {
		return true // what every normal path begins with
	}
	states := e.follow(map[uint32]bool{uint32(e.prog.Start): true}) //nolint:gosec // an index of the program
	for i := 0; i < len(prefix); i++ {
		if e.accepting(states) || i > 0 && !e.only(states, prefix[i]) {
			return false
		}
		states = e.step(states, prefix[i])
	}
	return e.only(states, '/')
}

// only reports whether no byte of a normal path but want has a transition.
func (e *expr) only(states map[uint32]bool, want byte) bool {
	for pc := range states {
		in := &e.prog.Inst[pc]
		for c := byte('!'); c <= '~'; c++ {
			if c != want && (plainByte(c) || c == '%') && consumes(in, c) {
				return false
			}
		}
	}
	return true
}

func (e *expr) accepting(states map[uint32]bool) bool {
	for pc := range states {
		if e.prog.Inst[pc].Op == syntax.InstMatch {
			return true
		}
	}
	return false
}

func (e *expr) step(states map[uint32]bool, c byte) map[uint32]bool {
	next := map[uint32]bool{}
	for pc := range states {
		if in := &e.prog.Inst[pc]; consumes(in, c) {
			next[in.Out] = true
		}
	}
	return e.follow(next)
}

// follow adds what is reached without consuming anything.
func (e *expr) follow(states map[uint32]bool) map[uint32]bool {
	work := make([]uint32, 0, len(states))
	for pc := range states {
		work = append(work, pc)
	}
	add := func(pc uint32) {
		if !states[pc] {
			states[pc] = true
			work = append(work, pc)
		}
	}
	for len(work) > 0 {
		in := &e.prog.Inst[work[len(work)-1]]
		work = work[:len(work)-1]
		switch in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			add(in.Out)
			add(in.Arg)
		case syntax.InstCapture, syntax.InstNop, syntax.InstEmptyWidth:
			add(in.Out)
		}
	}
	return states
}

func consumes(in *syntax.Inst, c byte) bool {
	switch in.Op {
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		return in.MatchRune(rune(c))
	}
	return false
}
