package tools

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Guest bytes reach a model's context and people's terminals. What could act
// there instead of being read is made visible: control characters, everything
// Unicode calls a format character (bidirectional overrides, invisible tags),
// other line separators, and bytes that are no UTF-8. Newline and tab stay.

// token is the next unit of b: what it is shown as, and how many bytes it took.
// An empty show means that the bytes stand for themselves. b is not empty.
func token(b []byte) (show string, size int) {
	if b[0] == '\r' && len(b) > 1 && b[1] == '\n' {
		return "\n", 2
	}
	if c := b[0]; c >= ' ' && c < 0x7f || c == '\n' || c == '\t' {
		return "", 1
	}
	r, size := utf8.DecodeRune(b)
	switch {
	case r == utf8.RuneError && size <= 1:
		return "\uFFFD", 1
	case r <= 0x7f:
		return fmt.Sprintf(`\x%02x`, r), size
	case inert(r):
		return "", size
	case r <= 0xffff:
		return fmt.Sprintf(`\u%04x`, r), size
	default:
		return fmt.Sprintf(`\U%08x`, r), size
	}
}

// inert reports whether a rune beyond ASCII is only ever read.
func inert(r rune) bool {
	switch {
	case r == '\u200c' || r == '\u200d': // joiners: Persian, Indic scripts and emoji need them
		return true
	case r >= 0xe0100 && r <= 0xe01ef: // variation selectors that can carry hidden text
		return false
	}
	return !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// cleanPrefix shows as much of the beginning of b as fits into limit bytes and
// says how many bytes of b that took. cut says that b goes on: an incomplete
// rune at its end is then left out.
func cleanPrefix(b []byte, limit int, cut bool) (text string, used int) {
	var out strings.Builder
	for used < len(b) {
		rest := b[used:]
		if cut && len(rest) < utf8.UTFMax && !utf8.FullRune(rest) {
			break
		}
		show, size := token(rest)
		if out.Len()+width(show, size) > limit {
			break
		}
		if show == "" {
			out.Write(rest[:size])
		} else {
			out.WriteString(show)
		}
		used += size
	}
	return out.String(), used
}

// width is how many bytes a token is shown in.
func width(show string, size int) int {
	if show == "" {
		return size
	}
	return len(show)
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
		show, size := token(b[i:])
		length += width(show, size)
		i += size
	}
	for length > limit {
		show, size := token(b[start:])
		length -= width(show, size)
		start += size
	}
	text, _ = cleanPrefix(b[start:], limit, false)
	return text, len(b) - start
}

// clean shows all of b.
func clean(b []byte) string {
	text, _ := cleanPrefix(b, 4*len(b), false) // no token grows more than that
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
	for i := 0; i < len(b); {
		show, size := token(b[i:])
		if show != "" && show != "\n" {
			return false
		}
		i += size
	}
	return true
}
