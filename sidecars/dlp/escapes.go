package dlp

import "unicode/utf8"

const (
	// escapeSize is the longest escape sequence that is undone, as "&#1114111;".
	escapeSize = 10
	// escapeContext is how much of a word before its first escape is read too.
	escapeContext = 128
)

// escapeReader undoes escapes for single characters, of URLs (%5F), of JSON and
// programs (_, \x5f, \137, \u{5f}) and of HTML (&#95;, &#x5f;), all at once. It
// reads from the beginning of the word that an escape stands in to the end of
// that word; it is started by the rules in carrierRules.
type escapeReader struct {
	layer
	// before is where the last word ended.
	before int64
	// blanks tells that a plus stands for a blank, as in a form.
	blanks bool
	// held is an escape that is not complete.
	held [escapeSize]byte
	n    int
	out  []byte
}

func (e *escapeReader) reset() { e.active, e.before, e.n = false, 0, 0 }

// reading reports whether an offset lies in a word that is being read or has
// been read.
func (e *escapeReader) reading(v *view, at int64) bool {
	if at < e.before || e.active && at < e.at {
		return true
	}
	e.advance(v)
	return e.active || at < e.before
}

// around begins at the word around an escape at an offset of the view.
func (e *escapeReader) around(v *view, at int64) {
	if e.reading(v, at) {
		return
	}
	from := at
	for limit := max(v.base, e.before, at-escapeContext); from > limit && !endsWord(v.buf[from-1-v.base]); {
		from--
	}
	e.name = "escapes"
	e.begin(v, from)
	e.n, e.out, e.blanks = 0, e.out[:0], v.buf[at-v.base] == '%' && v.job.field != Path
}

// endsWord reports what no escaped text goes over. A line end is none: encoded
// text stands in lines.
func endsWord(b byte) bool { return b == ' ' || b == '"' || b == '\t' || b == 0 }

// read reads all that the view has.
func (e *escapeReader) read(v *view) {
	if e.advance(v); e.active {
		e.flush()
	}
}

// advance reads to the end of the word or of what the view has.
func (e *escapeReader) advance(v *view) {
	if !e.active {
		return
	}
	for to := v.base + int64(len(v.buf)); e.at < to; {
		b := v.buf[e.at-v.base]
		if b == '%' && e.n == 0 {
			if n := e.percents(v.buf[e.at-v.base : to-v.base]); n > 0 {
				e.at += int64(n)
				e.fill()
				continue
			}
		} else if b == '\\' && e.n == 0 {
			if c, n := wholeEscape(v.buf[e.at-v.base : to-v.base]); n > 0 {
				e.emit(c)
				e.at += int64(n)
				e.fill()
				continue
			}
		}
		e.at++
		switch {
		case endsWord(b):
			e.finish()
			return
		case b == '+' && e.blanks && e.n == 0:
			e.out = append(e.out, ' ')
		case e.n > 0 || b == '%' || b == '\\' || b == '&':
			e.take(b)
		default:
			e.out = append(e.out, b)
		}
		e.fill()
	}
}

// fill hands on what has been decoded when it is enough.
func (e *escapeReader) fill() {
	if len(e.out) >= outSize {
		e.flush()
	}
}

// close ends the word that is open.
func (e *escapeReader) close() {
	if e.active {
		e.finish()
	}
}

func (e *escapeReader) finish() {
	if e.n > 0 && e.n < escapeSize {
		e.held[e.n] = ' '
		if r, state := unescaped(e.held[:e.n+1]); state == completeBefore {
			e.n = 0
			e.emit(r)
		}
	}
	e.spill()
	e.end(e.out)
	e.before = e.at
}

func (e *escapeReader) flush() {
	e.inner.write(e.out)
	e.out = e.out[:0]
}

// spill gives up on an escape: it was none.
func (e *escapeReader) spill() {
	e.out = append(e.out, e.held[:e.n]...)
	e.n = 0
}

// percents reads complete escapes of the most frequent kind, one behind another,
// and returns how many bytes those were.
func (e *escapeReader) percents(b []byte) int {
	out, n := e.out, 0
	for len(b)-n >= 3 && b[n] == '%' && len(out) < outSize && hexDigit(b[n+1]) && hexDigit(b[n+2]) {
		out = append(out, hexValue(b[n+1])<<4|hexValue(b[n+2]))
		n += 3
	}
	e.out = out
	return n
}

// wholeEscape reads the second most frequent kind, where it is complete. Others
// are read byte by byte.
func wholeEscape(b []byte) (r rune, n int) {
	if len(b) < 6 || b[1] != 'u' || b[0] != '\\' {
		return 0, 0
	}
	for _, c := range b[2:6] {
		if !hexDigit(c) {
			return 0, 0
		}
		r = r<<4 | rune(hexValue(c))
	}
	return r, 6
}

// emit appends a character: as a byte where it is one, else as UTF-8.
func (e *escapeReader) emit(r rune) {
	if r < 0x100 {
		e.out = append(e.out, byte(r)) // #nosec G115 -- below 0x100
	} else {
		e.out = utf8.AppendRune(e.out, r)
	}
}

// take reads one byte.
func (e *escapeReader) take(b byte) {
	if e.n == escapeSize {
		e.spill()
	}
	if e.n == 0 && b != '%' && b != '\\' && b != '&' {
		e.out = append(e.out, b)
		return
	}
	e.held[e.n] = b
	e.n++
	r, state := unescaped(e.held[:e.n])
	switch state {
	case more:
	case complete:
		e.n = 0
		e.emit(r)
	case completeBefore:
		e.n = 0
		e.emit(r)
		e.take(b)
	case none:
		e.n--
		e.spill()
		if b == '%' || b == '\\' || b == '&' {
			e.held[0], e.n = b, 1
		} else {
			e.out = append(e.out, b)
		}
	}
}

// escapeState is what the bytes of an escape so far are.
type escapeState uint8

const (
	more           escapeState = iota
	complete                   // an escape for the character returned
	completeBefore             // as complete, without its last byte
	none                       // no escape
)

// unescaped reads one escape.
func unescaped(b []byte) (rune, escapeState) {
	switch {
	case len(b) == 1:
		return 0, more
	case b[0] == '%':
		return hexEscape(b[1:], 2)
	case b[0] == '&':
		return entity(b[1:])
	}
	switch b[1] {
	case 'u', 'U':
		if len(b) > 2 && b[2] == '{' {
			return braced(b[3:])
		}
		return hexEscape(b[2:], 4)
	case 'x':
		return hexEscape(b[2:], 2)
	case '0', '1', '2', '3':
		return octal(b[1:])
	case 'n', 'r', 't', 'b', 'f':
		return ' ', complete
	case '/', '"', '\'', '\\', '&', '%':
		return rune(b[1]), complete
	}
	return 0, none
}

// hexEscape reads exactly n digits.
func hexEscape(b []byte, n int) (rune, escapeState) {
	r := rune(0)
	for _, c := range b {
		if !hexDigit(c) {
			return 0, none
		}
		r = r<<4 | rune(hexValue(c))
	}
	if len(b) < n {
		return 0, more
	}
	return r, complete
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// braced reads the digits and the brace of \u{5f}.
func braced(b []byte) (rune, escapeState) {
	if len(b) == 0 {
		return 0, more
	}
	if last := len(b) - 1; b[last] == '}' {
		r, _ := hexEscape(b[:last], 0)
		return r, complete
	}
	if _, state := hexEscape(b, len(b)+1); state == none || len(b) > 6 {
		return 0, none
	}
	return 0, more
}

// octal reads three digits. b begins with the first.
func octal(b []byte) (rune, escapeState) {
	r := rune(0)
	for _, c := range b {
		if c < '0' || c > '7' {
			return 0, none
		}
		r = r<<3 | rune(c-'0')
	}
	if len(b) < 3 {
		return 0, more
	}
	return r, complete
}

// entity reads a numeric character reference or one of a few names. b begins
// behind the ampersand. The semicolon may be missing after digits, as browsers
// allow.
func entity(b []byte) (rune, escapeState) {
	if b[0] == '#' {
		return reference(b[1:])
	}
	last := b[len(b)-1]
	switch {
	case last != ';' && len(b) <= 4 && alnum(last):
		return 0, more
	case string(b) == "amp;":
		return '&', complete
	case string(b) == "lt;":
		return '<', complete
	case string(b) == "gt;":
		return '>', complete
	case string(b) == "quot;":
		return '"', complete
	case string(b) == "apos;":
		return '\'', complete
	}
	return 0, none
}

// reference reads the digits of a numeric character reference.
func reference(b []byte) (rune, escapeState) {
	if len(b) == 0 {
		return 0, more
	}
	base, digits := rune(10), b
	if b[0]|0x20 == 'x' {
		base, digits = 16, b[1:]
	}
	r := rune(0)
	for i, c := range digits {
		if c == ';' && i > 0 {
			return r, complete
		}
		if c >= '0' && c <= '9' || base == 16 && hexDigit(c) {
			r = min(r*base+rune(hexValue(c)), utf8.MaxRune)
			continue
		}
		if i > 0 && r < 0x100 {
			return r, completeBefore
		}
		return 0, none
	}
	return 0, more
}
