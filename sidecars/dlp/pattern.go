package dlp

import (
	"errors"
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
	// only is the set's byte where it has one, else -1.
	only int16
}

// sequence is a pattern in the form it is matched in: runs one after the other,
// each greedy, none ever given back. It reads every byte once and can stop at
// any byte and go on later, which a backtracking matcher cannot and RE2's, at a
// tenth of the speed, does not.
type sequence []run

// sets are those of the patterns compiled so far, each kept once.
type sets struct {
	bytes   [256]*set
	classes map[string]*set
}

// one is the run of a single given byte.
func (s *sets) one(b byte) run {
	if s.bytes[b] == nil {
		s.bytes[b] = &set{}
		s.bytes[b][b] = true
	}
	return run{set: s.bytes[b], min: 1, max: 1, only: int16(b)}
}

// class is the run of one byte out of ranges.
func (s *sets) class(ranges []rune) (run, error) {
	var members []byte
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := ranges[i]; r <= min(ranges[i+1], 0xff); r++ {
			members = append(members, byte(r)) // #nosec G115 -- at most 0xff
		}
	}
	switch len(members) {
	case 0:
		return run{}, errors.New("a class without bytes")
	case 1:
		return s.one(members[0]), nil
	}
	key := string(members)
	if s.classes[key] == nil {
		of := &set{}
		for _, b := range members {
			of[b] = true
		}
		if s.classes == nil {
			s.classes = map[string]*set{}
		}
		s.classes[key] = of
	}
	return run{set: s.classes[key], min: 1, max: 1, only: -1}, nil
}

// compile turns an expression in RE2's syntax into sequences, one for
// each way through its alternatives. It refuses what a greedy reader would read
// in another way than RE2: a run of variable length whose bytes could also
// begin what follows.
func (s *sets) compile(expr string) ([]sequence, error) {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	all, err := s.expand(tree)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	for _, way := range all {
		if err := way.oneWay(); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", expr, err)
		}
	}
	return all, nil
}

// mostWays bounds the ways through a pattern.
const mostWays = 256

func (s *sets) expand(t *syntax.Regexp) ([]sequence, error) {
	switch t.Op {
	case syntax.OpEmptyMatch:
		return []sequence{{}}, nil
	case syntax.OpLiteral:
		return s.literal(t)
	case syntax.OpCharClass:
		r, err := s.class(t.Rune)
		return []sequence{{r}}, err
	case syntax.OpCapture:
		return s.expand(t.Sub[0])
	case syntax.OpStar:
		return s.repeat(t.Sub[0], 0, -1)
	case syntax.OpPlus:
		return s.repeat(t.Sub[0], 1, -1)
	case syntax.OpQuest:
		return s.repeat(t.Sub[0], 0, 1)
	case syntax.OpRepeat:
		return s.repeat(t.Sub[0], t.Min, t.Max)
	case syntax.OpConcat:
		return s.concat(t.Sub)
	case syntax.OpAlternate:
		return s.alternate(t.Sub)
	}
	return nil, fmt.Errorf("%s is not supported", t.Op)
}

func (s *sets) literal(t *syntax.Regexp) ([]sequence, error) {
	var way sequence
	for _, r := range t.Rune {
		if r > 0xff {
			return nil, fmt.Errorf("character %q is not one byte", r)
		}
		one := s.one(byte(r))                               // #nosec G115 -- at most 0xff
		if t.Flags&syntax.FoldCase != 0 && alnum(byte(r)) { // #nosec G115 -- the same
			var err error
			if one, err = s.class([]rune{r &^ 0x20, r &^ 0x20, r | 0x20, r | 0x20}); err != nil {
				return nil, err
			}
		}
		way = append(way, one)
	}
	return []sequence{way}, nil
}

func (s *sets) repeat(sub *syntax.Regexp, least, most int) ([]sequence, error) {
	if most < 0 {
		most = maxRun
	}
	inner, err := s.expand(sub)
	if err != nil {
		return nil, err
	}
	if len(inner) == 1 && len(inner[0]) == 1 && inner[0][0].min == 1 && inner[0][0].max == 1 {
		r := inner[0][0]
		r.min, r.max = int32(least), int32(most) // #nosec G115 -- RE2 bounds both to 1,000, maxRun is ours
		return []sequence{{r}}, nil
	}
	if most > 8 {
		return nil, errors.New("only single bytes can be repeated more than eight times")
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

func (s *sets) concat(subs []*syntax.Regexp) ([]sequence, error) {
	all := []sequence{{}}
	for _, sub := range subs {
		tails, err := s.expand(sub)
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

func (s *sets) alternate(subs []*syntax.Regexp) ([]sequence, error) {
	var all []sequence
	for _, sub := range subs {
		ways, err := s.expand(sub)
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
		if r.only < 0 || r.min != 1 || r.max != 1 {
			break
		}
		text = append(text, byte(r.only)) // #nosec G115 -- not negative
	}
	return text
}

const (
	// sharp is how many fixed characters a keyword should have, so that it is
	// found where the pattern is and seldom elsewhere.
	sharp = 5
	// sharpCarrier is the same for carrierRules, which are many and short.
	sharpCarrier = 2
	// fewBytes bounds the classes that are spelled out for it.
	fewBytes = 8
)

// sharpen spells out small classes near the beginning of sequences, until they
// begin with enough fixed characters.
func (s *sets) sharpen(ways []sequence, enough int) []sequence {
	var all []sequence
	for _, way := range ways {
		n := len(way.prefix())
		if n >= enough || n >= len(way) || way[n].min != 1 || way[n].max != 1 || way[n].set.size() > fewBytes {
			all = append(all, way)
			continue
		}
		var spelled []sequence
		for b, in := range way[n].set {
			if in {
				spelled = append(spelled, slices.Concat(way[:n], sequence{s.one(byte(b))}, way[n+1:])) // #nosec G115 -- 256 entries
			}
		}
		all = append(all, s.sharpen(spelled, enough)...)
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
