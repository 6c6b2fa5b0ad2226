package dlp

import (
	"fmt"
	"math"
)

// confidence is what a check says of a match.
type confidence uint8

const (
	no     confidence = iota // an accident, or documentation
	likely                   // the right shape
	sure                     // proven, as by a checksum: where it stands does not matter
)

// match is a match that waits for its check.
type match struct {
	buf               []byte // with up to lookback bytes before start
	start, value, end int    // value is where what is secret begins
}

// secret is the part that differs from credential to credential.
func (m match) secret() []byte { return m.buf[m.value:m.end] }

// rule describes one kind of credential.
type rule struct {
	// do is what follows from a match.
	do action
	// kind is the stable name that logs and answers show.
	kind string
	// pattern begins with a literal, by which it is found.
	pattern string
	// before is matched leftwards from where pattern begins.
	before string
	// key makes pattern that of a value that is assigned to something with this
	// in its name, in letters and digits only: "apikey" stands for API_KEY,
	// api-key and apiKey.
	key string
	// glued accepts a match inside a longer word. Patterns whose literal is long
	// enough to be no accident are always accepted there.
	glued bool
	// word demands a word of its own, whatever the literal's length.
	word bool
	// weak makes the finding a Warn.
	weak bool
	// entropy is the least that the secret part must have, in bits a character;
	// 0 = leastEntropy.
	entropy float64
	check   func(match) confidence
}

const (
	// leastEntropy excuses "xxxxxxxx…" and "00000000…" and next to nothing else.
	leastEntropy = 2.5
	// gluedPrefix is how many literal characters are no accident.
	gluedPrefix = 6
	// lookback is how much text before a match its check may look at.
	lookback = 256
)

// action is what follows from a match.
type action uint8

const (
	report   action = iota
	unescape        // an escaped character: decode what is around it
	inflate         // a compressed file: decode from here on
)

// variant is one way through a rule's pattern.
type variant struct {
	rule   *rule
	seq    sequence
	first  uint8 // the first run that the keyword has not matched
	value  uint8 // the run where the secret part begins
	anchor uint8 // how many bytes the keyword has
	back   sequence
	loose  bool // no boundary needed
	escape bool // the rule's action is unescape
	strict bool // without a boundary there is nothing to check
}

// assignment is what may stand between a name and its value: the rest of the
// name, closing quotes, an operator, opening quotes. Backslashes are there for
// code inside JSON strings.
const assignment = "[\\w.-]{0,16}[ \\t\"'`\\\\\\])]{0,6}[=:>,(]{1,3}[ \\t\"'`\\\\]{0,6}"

// compile turns a rule into variants and calls add with each one's keyword.
func (r *rule) compile(s *sets, add func(keyword []byte, v *variant)) error {
	if r.key != "" {
		return r.compileKey(s, add)
	}
	seqs, err := s.compile(r.pattern)
	if err != nil {
		return fmt.Errorf("rule %s: %w", r.kind, err)
	}
	var before sequence
	if r.before != "" {
		backs, err := s.compile(r.before)
		if err != nil || len(backs) != 1 {
			return fmt.Errorf("rule %s: what stands before must have one form: %w", r.kind, err)
		}
		before = backs[0]
	}
	enough := sharp
	if r.do != report {
		enough = sharpCarrier
	}
	for _, seq := range s.sharpen(seqs, enough) {
		word := seq.prefix()
		if len(word) > maxKeyword {
			word = word[:maxKeyword]
		}
		if len(word) == 0 || len(word) < 2 && r.do == report || len(seq) > math.MaxUint8 {
			return fmt.Errorf("rule %s: a pattern must begin with at least two fixed characters", r.kind)
		}
		n := uint8(len(word)) // #nosec G115 -- at most maxKeyword
		v := &variant{rule: r, seq: seq, first: n, value: n, anchor: n, back: before, escape: r.do == unescape}
		if before != nil {
			v.value = 0
		}
		v.loose = !r.word && (r.do != report || r.glued || len(seq.prefix()) >= gluedPrefix)
		v.strict = !v.loose && r.check == nil
		add(word, v)
	}
	return nil
}

func (r *rule) compileKey(s *sets, add func(keyword []byte, v *variant)) error {
	head, err := s.compile(assignment)
	if err != nil {
		return err
	}
	seqs, err := s.compile(assignment + r.pattern)
	if err != nil {
		return fmt.Errorf("rule %s: %w", r.kind, err)
	}
	for _, seq := range seqs {
		v := &variant{rule: r, seq: seq, value: uint8(len(head[0])), loose: true} // #nosec G115 -- four runs
		add([]byte(r.key), v)
	}
	return nil
}

// maxKeyword bounds how much of a literal beginning the automaton looks for.
const maxKeyword = 16

// accept applies everything but the pattern: where the match stands, how random
// it is, and the rule's own check.
func (v *variant) accept(m match) bool {
	least := v.rule.entropy
	if least == 0 {
		least = leastEntropy
	}
	if shannon(m.secret()) < least {
		return false
	}
	certain := likely
	if v.rule.check != nil {
		certain = v.rule.check(m)
	}
	switch certain {
	case no:
		return false
	case sure:
		return true
	default:
		return v.loose || wordBegins(m.buf, m.start) && !v.runsOn(m)
	}
}

// runsOn reports whether the text goes on after a match of fixed length as if
// it were longer.
func (v *variant) runsOn(m match) bool {
	last := v.seq[len(v.seq)-1]
	return last.min == last.max && m.end < len(m.buf) && last.set[m.buf[m.end]]
}

// wordBegins reports whether no word runs into buf[at:]. An escape sequence
// right before it (a line end in a JSON string, "%3D") is no word.
func wordBegins(buf []byte, at int) bool {
	if at == 0 || !alnum(buf[at-1]) {
		return true
	}
	before := buf[max(0, at-6):at]
	n := len(before)
	switch {
	case n >= 2 && before[n-2] == '\\':
		return true
	case n >= 3 && before[n-3] == '%' && hexDigit(before[n-2]) && hexDigit(before[n-1]):
		return true
	case n == 6 && before[0] == '\\' && before[1] == 'u':
		return true
	}
	return false
}

func alnum(b byte) bool {
	return b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z'
}

func hexDigit(b byte) bool {
	return b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'f'
}
