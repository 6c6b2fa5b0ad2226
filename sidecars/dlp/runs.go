package dlp

import "slices"

// runKind is an encoding in runs of characters of an alphabet.
type runKind int

const (
	base64Any runKind = iota
	// base64InPath reads runs that begin behind a slash, dash or underscore,
	// which base64Any takes for a part of them.
	base64InPath
	hexRun
	base32Upper
	base32Lower
	runKinds
)

// shortestRun is how long a run must be to be decoded.
const shortestRun = 20

// alphabet gives each character's digit; others have one of the marks below.
type alphabet struct {
	name   string
	bits   uint8
	digit  [256]uint8
	begins set // characters a run may begin with
	// words are characters that names and paths consist of as well. While a run
	// has no others it is not decoded; then it is, from before characters back,
	// in steps of group. No encoding of anything has so many of them alone, and
	// no name is as long. lookback bounds before.
	words         set
	before, group int
}

const (
	// skipped is a line end: it may stand anywhere in a run.
	skipped = 0xfe
	// escaping is a backslash: "\n", "\r" and "\/" may stand in a run.
	escaping = 0xfd
	// outside ends a run.
	outside = 0xff
)

func newAlphabet(name string, bits uint8, digits ...string) *alphabet {
	a := &alphabet{name: name, bits: bits}
	for i := range a.digit {
		a.digit[i] = outside
	}
	for _, d := range digits {
		for i := range len(d) {
			a.digit[d[i]] = uint8(i) // #nosec G115 -- at most 64 digits
			a.begins[d[i]] = true
		}
	}
	a.digit['\r'], a.digit['\n'], a.digit['\\'] = skipped, skipped, escaping
	return a
}

// alphabets are those of the kinds of runs.
func alphabets() [runKinds]*alphabet {
	const alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	inPath := newAlphabet("base64", 6, alnum+"-_")
	inPath.begins['-'], inPath.begins['_'] = false, false
	all := [runKinds]*alphabet{
		base64Any:    newAlphabet("base64", 6, alnum+"+/", alnum+"-_"),
		base64InPath: inPath,
		hexRun:       newAlphabet("hex", 4, "0123456789abcdef", "0123456789ABCDEF"),
		base32Upper:  newAlphabet("base32", 5, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
		base32Lower:  newAlphabet("base32", 5, "abcdefghijklmnopqrstuvwxyz234567"),
	}
	all[base64Any].skips("abcdefghijklmnopqrstuvwxyz-_/", 64, 4)
	all[base32Upper].skips("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 160, 8)
	all[base32Lower].skips("abcdefghijklmnopqrstuvwxyz", 160, 8)
	return all
}

// skips sets what is passed over.
func (a *alphabet) skips(words string, before, group int) {
	for i := range len(words) {
		a.words[words[i]] = true
	}
	a.before, a.group = before, group
}

// runReader finds runs of one alphabet and decodes them.
type runReader struct {
	layer
	kind runKind
	// from is where the search for the next run stands: no run begins before.
	from int64
	// passing skips the beginning of a run that is not encoded: see pass.
	passing passing
	head    int64  // where that run begins
	acc     uint32 // bits that are no whole byte yet
	have    uint8  // how many
	escape  bool   // the last character was a backslash
	out     []byte
	seen    histogram
}

func (r *runReader) reset(kind runKind) {
	r.kind, r.from, r.active, r.passing = kind, 0, false, nothing
}

// read finds and decodes runs in what is new.
func (r *runReader) read(v *view, last bool) {
	a := v.s.alphabets[r.kind]
	for {
		if !r.active && !r.search(v, a) {
			return
		}
		if !r.decode(v, a) && !last {
			return
		}
		r.finish()
	}
}

// search looks for the next run in the spans of this block.
func (r *runReader) search(v *view, a *alphabet) bool {
	for _, span := range v.spans.found {
		i := max(span.lo, int(r.from-v.base))
		if i >= span.hi {
			continue
		}
		i, ok := r.within(v, a, v.buf[:span.hi], i)
		if r.from = v.base + int64(i); ok {
			r.open(v, a)
			return true
		}
		if span.open {
			return false
		}
		r.passing = nothing
	}
	r.from = max(r.from, v.spans.at)
	return false
}

// within looks for a run in a span. It returns where one begins, or how far
// there is none.
func (r *runReader) within(v *view, a *alphabet, buf []byte, i int) (int, bool) {
	if a.group == 0 {
		return nextRun(buf, i, a)
	}
	var ok bool
	for i < len(buf) {
		if r.passing != nothing {
			if i, ok = r.pass(v, a, buf, i); ok {
				return i, true
			}
			continue
		}
		if i, ok = nextRun(buf, i, a); !ok {
			return i, false
		}
		r.head, r.passing = v.base+int64(i), words
		if r.kind == base64Any && !slices.ContainsFunc(buf[i:i+shortestRun], notHex) {
			r.passing = hexDigits
		}
	}
	return i, false
}

// passing is what a run begins with that is not decoded.
type passing uint8

const (
	nothing   passing = iota
	hexDigits         // hexadecimal, which another reader decodes
	words             // the words of the alphabet
)

// pass skips what is not encoded and reports whether a run begins. To decode
// every path and long name in a source tree costs more than all the rest.
func (r *runReader) pass(v *view, a *alphabet, buf []byte, i int) (int, bool) {
	skip := &a.words
	if r.passing == hexDigits {
		skip = &v.s.alphabets[hexRun].begins
	}
	for i < len(buf) && skip[buf[i]] {
		i++
	}
	if i == len(buf) {
		return i, false
	}
	if r.passing == hexDigits {
		r.passing = nothing
		return i, false
	}
	r.passing = nothing
	if !a.begins[buf[i]] {
		return i, false
	}
	at := int(r.head - v.base)
	return max(at, at+(i-at)/a.group*a.group-a.before), true
}

func notHex(b byte) bool { return !hexDigit(b) }

// open begins to decode at from.
func (r *runReader) open(v *view, a *alphabet) {
	r.name = a.name
	r.begin(v, r.from)
	r.acc, r.have, r.escape, r.out = 0, 0, false, r.out[:0]
	if r.measured(v) {
		r.seen = histogram{}
	}
}

// measured reports whether runs are to be judged by their randomness.
func (r *runReader) measured(v *view) bool {
	return r.kind == base64Any && v.depth == 0 && v.job.on(Entropy)
}

// decode reads the run on and reports whether it ended.
func (r *runReader) decode(v *view, a *alphabet) bool {
	i, ended := int(r.at-v.base), false
	for i < len(v.buf) && !ended {
		if !r.escape {
			i = r.digits(v.buf, i, a)
		}
		if i < len(v.buf) {
			ended = r.mark(v.buf[i], a)
		}
		if !ended {
			i++
		}
	}
	i = min(i, len(v.buf))
	if r.measured(v) {
		r.seen.add(v.buf[r.at-v.base : i])
	}
	r.at = v.base + int64(i)
	return ended
}

// digits decodes digits from buf[i:] and returns where something else stands.
func (r *runReader) digits(buf []byte, i int, a *alphabet) int {
	acc, have, bits, out := r.acc, r.have, a.bits, r.out
	for ; i < len(buf); i++ {
		d := a.digit[buf[i]]
		if d >= escaping {
			break
		}
		acc = acc<<bits | uint32(d)
		have += bits
		if have >= 8 {
			have -= 8
			out = append(out, byte(acc>>have)) // #nosec G115 -- the eight bits on top
			if len(out) == outSize {
				r.inner.write(out)
				out = out[:0]
			}
		}
	}
	r.acc, r.have, r.out = acc, have, out
	return i
}

// mark reads what is no digit, or follows a backslash, and reports whether it
// ends the run.
func (r *runReader) mark(b byte, a *alphabet) bool {
	if r.escape {
		r.escape = false
		if b == '/' && a.digit['/'] < escaping {
			r.digits([]byte{b}, 0, a)
		}
		return b != 'n' && b != 'r' && b != '/'
	}
	r.escape = a.digit[b] == escaping
	return a.digit[b] == outside
}

// outSize is how many decoded bytes are handed on at once.
const outSize = 1024

func (r *runReader) flush() {
	r.inner.write(r.out)
	r.out = r.out[:0]
}

// finish ends a run.
func (r *runReader) finish() {
	r.end(r.out)
	r.from = r.at
	if r.measured(r.outer) && r.seen.random() {
		r.outer.sink.found(Finding{Detector: Entropy, Kind: "random", Start: r.start, End: r.at, Level: Warn})
	}
}

// safe is the offset in the outer view before which this reader has nothing
// undecided.
func (r *runReader) safe() int64 {
	if !r.active {
		return r.from
	}
	return max(r.start, r.at-2*(r.undecided()+int64(len(r.out))+1))
}
