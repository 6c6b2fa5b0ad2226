package tools

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Guest bytes reach a model's context and people's terminals. What could act
// there instead of being read is made visible: control characters, what Unicode
// calls format characters (bidirectional overrides, invisible tags), runes that
// show nothing or mean nothing yet, other line separators, and bytes that are
// no UTF-8. Newline and tab stay.

// token is the next unit of guest output and what it is shown as.
type token struct {
	raw  []byte
	as   showing
	rune rune
}

// showing is how a token is shown.
type showing int

const (
	itself    showing = iota
	newline           // for CR LF
	replaced          // U+FFFD, for a byte that is no UTF-8
	shortHex          // \x1b
	longHex           // \u202e
	widestHex         // \U000e0041
)

// plain reports whether a byte is shown as itself whatever stands around it.
func plain(c byte) bool { return c >= ' ' && c < 0x7f || c == '\n' || c == '\t' }

// plainRun is how many plain bytes b begins with, at most limit: most output is
// little else, and needs no token each.
func plainRun(b []byte, limit int) int {
	n := min(len(b), limit)
	for i := range n {
		if !plain(b[i]) {
			return i
		}
	}
	return n
}

// next takes the first token of b, which is not empty.
func next(b []byte) token {
	c := b[0]
	switch {
	case plain(c):
		return token{raw: b[:1]}
	case c == '\r' && len(b) > 1 && b[1] == '\n':
		return token{raw: b[:2], as: newline}
	case c < utf8.RuneSelf:
		return token{raw: b[:1], as: shortHex, rune: rune(c)}
	}
	r, size := utf8.DecodeRune(b)
	t := token{raw: b[:size], rune: r}
	switch {
	case r == utf8.RuneError && size == 1:
		t.as = replaced
	case inert(r):
	case r <= 0xffff:
		t.as = longHex
	default:
		t.as = widestHex
	}
	return t
}

// width is how many bytes the token is shown in.
func (t token) width() int {
	switch t.as {
	case itself:
		return len(t.raw)
	case newline:
		return 1
	case replaced:
		return utf8.RuneLen(utf8.RuneError)
	case shortHex:
		return len(`\x00`)
	case longHex:
		return len(`\u0000`)
	default:
		return len(`\U00000000`)
	}
}

func (t token) appendTo(dst []byte) []byte {
	switch t.as {
	case itself:
		return append(dst, t.raw...)
	case newline:
		return append(dst, '\n')
	case replaced:
		return utf8.AppendRune(dst, utf8.RuneError)
	case shortHex:
		return appendHex(append(dst, `\x`...), t.rune, 2)
	case longHex:
		return appendHex(append(dst, `\u`...), t.rune, 4)
	default:
		return appendHex(append(dst, `\U`...), t.rune, 8)
	}
}

func appendHex(dst []byte, r rune, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[r>>shift&0xf])
	}
	return dst
}

// inert reports whether a rune beyond ASCII is only ever read. Runes that show
// nothing can carry text that only a model sees.
func inert(r rune) bool {
	switch {
	case r == '\u200c' || r == '\u200d' || r == '\ufe0e' || r == '\ufe0f':
		return true // joiners and emoji styles: Persian, Indic scripts and emoji need them
	case unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
		return false
	case unicode.Is(unicode.Co, r):
		return true // icons of private fonts
	}
	return !unicode.In(r, unicode.C, unicode.Zl, unicode.Zp)
}

// cleanPrefix shows as much of the beginning of b as fits into limit bytes and
// says how many bytes of b that took. cut says that b goes on: an incomplete
// rune at its end is then left out.
func cleanPrefix(b []byte, limit int, cut bool) (text string, used int) {
	out := make([]byte, 0, min(limit, len(b)+len(b)/8))
	for used < len(b) {
		rest := b[used:]
		if n := plainRun(rest, limit-len(out)); n > 0 {
			out = append(out, rest[:n]...)
			used += n
			continue
		}
		if cut && len(rest) < utf8.UTFMax && !utf8.FullRune(rest) {
			break
		}
		t := next(rest)
		if len(out)+t.width() > limit {
			break
		}
		out = t.appendTo(out)
		used += len(t.raw)
	}
	return string(out), used
}

// cleanSuffix is cleanPrefix for the end of b. cut says that b began earlier:
// the rest of a rune at its beginning is then left out.
func cleanSuffix(b []byte, limit int, cut bool) (text string, used int) {
	start := 0
	for cut && start < len(b) && start < utf8.UTFMax-1 && !utf8.RuneStart(b[start]) {
		start++
	}
	length := 0
	for i := start; i < len(b); {
		if n := plainRun(b[i:], len(b)); n > 0 {
			length += n
			i += n
			continue
		}
		t := next(b[i:])
		length += t.width()
		i += len(t.raw)
	}
	for length > limit {
		if n := plainRun(b[start:], length-limit); n > 0 {
			length -= n
			start += n
			continue
		}
		t := next(b[start:])
		length -= t.width()
		start += len(t.raw)
	}
	text, _ = cleanPrefix(b[start:], limit, false)
	return text, len(b) - start
}

// clean shows all of b.
func clean(b []byte) string {
	text, _ := cleanPrefix(b, 4*len(b), false) // no token grows more
	return text
}

// cleanLine shows s as one line of at most limit bytes and "…" for the rest.
func cleanLine(s string, limit int) string {
	s = strings.NewReplacer("\r\n", `\n`, "\n", `\n`, "\t", `\t`).Replace(s)
	text, used := cleanPrefix([]byte(s), limit, false)
	if used < len(s) {
		text += "…"
	}
	return text
}

// isPlain reports whether b can be handed to a model byte for byte.
func isPlain(b []byte) bool {
	for len(b) > 0 {
		t := next(b)
		if t.as != itself && t.as != newline {
			return false
		}
		b = b[len(t.raw):]
	}
	return true
}
