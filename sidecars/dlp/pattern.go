package dlp

import (
	"fmt"
	"regexp/syntax"
	"slices"
)

// maxRun stands for "without end" in a pattern.
const maxRun = 8192

// set is a set of bytes.
type set [256]bool

// run is between min and max bytes of a set, as many as there are.
type run struct {
	set      *set
	min, max int32
}

// sequence is a pattern in the form it is matched in: runs one after the other,
// each greedy, none ever given back. It reads every byte once and can stop at
// any byte and go on later, which a backtracking matcher cannot and RE2's, at a
// tenth of the speed, does not.
type sequence []run

// compilePattern turns an expression in RE2's syntax into sequences, one for
// each way through its alternatives. It refuses what a greedy reader would read
// in another way than RE2: a run of variable length whose bytes could also
// begin what follows.
func compilePattern(expr string) ([]sequence, error) {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	all, err := expand(tree)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	for _, s := range all {
		if err := s.oneWay(); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", expr, err)
		}
	}
	return all, nil
}

// mostWays bounds the ways through a pattern.
const mostWays = 256

func expand(t *syntax.Regexp) ([]sequence, error) {
	switch t.Op {
	case syntax.OpEmptyMatch:
		return []sequence{{}}, nil
	case syntax.OpLiteral:
		return literal(t)
	case syntax.OpCharClass:
		s, err := classSet(t.Rune)
		return []sequence{{{set: s, min: 1, max: 1}}}, err
	case syntax.OpCapture:
		return expand(t.Sub[0])
	case syntax.OpStar:
		return repeat(t.Sub[0], 0, -1)
	case syntax.OpPlus:
		return repeat(t.Sub[0], 1, -1)
	case syntax.OpQuest:
		return repeat(t.Sub[0], 0, 1)
	case syntax.OpRepeat:
		return repeat(t.Sub[0], t.Min, t.Max)
	case syntax.OpConcat:
		return concat(t.Sub)
	case syntax.OpAlternate:
		return alternate(t.Sub)
	}
	return nil, fmt.Errorf("%s is not supported", t.Op)
}

func literal(t *syntax.Regexp) ([]sequence, error) {
	var s sequence
	for _, r := range t.Rune {
		if r > 0xff {
			return nil, fmt.Errorf("character %q is not one byte", r)
		}
		var one set
		one[r] = true
		if t.Flags&syntax.FoldCase != 0 && (r|0x20) >= 'a' && (r|0x20) <= 'z' {
			one[r|0x20], one[r&^0x20] = true, true
		}
		s = append(s, run{set: &one, min: 1, max: 1})
	}
	return []sequence{s}, nil
}

func classSet(ranges []rune) (*set, error) {
	var s set
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := ranges[i]; r <= min(ranges[i+1], 0xff); r++ {
			s[r] = true
		}
	}
	if s == (set{}) {
		return nil, fmt.Errorf("a class without bytes")
	}
	return &s, nil
}

func repeat(sub *syntax.Regexp, least, most int) ([]sequence, error) {
	if most < 0 {
		most = maxRun
	}
	inner, err := expand(sub)
	if err != nil {
		return nil, err
	}
	if len(inner) == 1 && len(inner[0]) == 1 && inner[0][0].min == 1 && inner[0][0].max == 1 {
		return []sequence{{{set: inner[0][0].set, min: int32(least), max: int32(most)}}}, nil // #nosec G115 -- RE2 bounds both to 1,000, maxRun is ours
	}
	if most > 8 {
		return nil, fmt.Errorf("only single bytes can be repeated more than eight times")
	}
	var all []sequence
	ways := []sequence{{}}
	for n := 0; n <= most; n++ {
		if n >= least {
			all = append(all, ways...)
		}
		ways = cross(ways, inner)
	}
	return all, nil
}

func concat(subs []*syntax.Regexp) ([]sequence, error) {
	all := []sequence{{}}
	for _, sub := range subs {
		tails, err := expand(sub)
		if err != nil {
			return nil, err
		}
		if len(all)*len(tails) > mostWays {
			return nil, fmt.Errorf("more than %d ways through it", mostWays)
		}
		all = cross(all, tails)
	}
	return all, nil
}

func cross(heads, tails []sequence) []sequence {
	var all []sequence
	for _, head := range heads {
		for _, tail := range tails {
			all = append(all, slices.Concat(head, tail))
		}
	}
	return all
}

func alternate(subs []*syntax.Regexp) ([]sequence, error) {
	var all []sequence
	for _, sub := range subs {
		ways, err := expand(sub)
		if err != nil {
			return nil, err
		}
		all = append(all, ways...)
	}
	return all, nil
}

// oneWay reports a run of variable length that shares bytes with what may
// follow it.
func (s sequence) oneWay() error {
	for i, r := range s {
		if r.min == r.max {
			continue
		}
		for _, after := range s[i+1:] {
			if overlap(r.set, after.set) {
				return fmt.Errorf("part %d can end in more than one place", i)
			}
			if after.min > 0 {
				break
			}
		}
	}
	return nil
}

func overlap(a, b *set) bool {
	for i := range a {
		if a[i] && b[i] {
			return true
		}
	}
	return false
}

// prefix is the literal text a sequence begins with.
func (s sequence) prefix() []byte {
	var text []byte
	for _, r := range s {
		b, ok := r.set.single()
		if !ok || r.min != 1 || r.max != 1 {
			break
		}
		text = append(text, b)
	}
	return text
}

const (
	// sharp is how many fixed characters a keyword should have, so that it is
	// found where the pattern is and seldom elsewhere.
	sharp = 5
	// fewBytes bounds the classes that are spelled out for it.
	fewBytes = 8
)

// sharpen spells out small classes near the beginning of sequences.
func sharpen(seqs []sequence) []sequence {
	var all []sequence
	for _, s := range seqs {
		n := len(s.prefix())
		if n >= sharp || n >= len(s) || s[n].min != 1 || s[n].max != 1 || s[n].set.size() > fewBytes {
			all = append(all, s)
			continue
		}
		var spelled []sequence
		for b, in := range s[n].set {
			if in {
				one := &set{}
				one[b] = true
				spelled = append(spelled, slices.Concat(s[:n], sequence{{set: one, min: 1, max: 1}}, s[n+1:]))
			}
		}
		all = append(all, sharpen(spelled)...)
	}
	return all
}

func (s *set) size() int {
	count := 0
	for _, in := range s {
		if in {
			count++
		}
	}
	return count
}

func (s *set) single() (only byte, ok bool) {
	count := 0
	for i, in := range s {
		if in {
			only, count = byte(i), count+1 // #nosec G115 -- 256 entries
		}
	}
	return only, count == 1
}

// back matches a sequence leftwards from buf[end] and returns where it begins.
func (s sequence) back(buf []byte, end int) (int, bool) {
	for i := len(s) - 1; i >= 0; i-- {
		r, n := s[i], int32(0)
		for n < r.max && end > 0 && r.set[buf[end-1]] {
			end--
			n++
		}
		if n < r.min {
			return 0, false
		}
	}
	return end, true
}
