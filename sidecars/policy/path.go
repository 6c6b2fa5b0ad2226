package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPath bounds the paths that path rules are tried on.
const maxPath = 4096

// PathError says why a path has no normal form: servers may read it in more
// than one way.
type PathError struct {
	// Fault is a stable code: "encoded_slash", "dot_segment", …
	Fault string
	why   string
}

// Error implements error.
func (e *PathError) Error() string { return "the path " + e.why }

// Faults of a path. Values, so that a refusal costs no allocation.
var (
	errPathLong      = &PathError{"too_long", "is longer than 4096 bytes"}
	errPathRelative  = &PathError{"not_absolute", "does not begin with a slash"}
	errPathCharacter = &PathError{"character", "holds a character that must be percent-encoded"}
	errPathEscape    = &PathError{"escape", "holds a percent sign that begins no escape"}
	errPathNUL       = &PathError{"nul", "holds an encoded NUL"}
	errPathControl   = &PathError{"control", "holds an encoded control character"}
	errPathSlash     = &PathError{"encoded_slash", "holds an encoded slash (%2F)"}
	errPathBackslash = &PathError{"backslash", "holds a backslash, plain or encoded"}
	errPathParameter = &PathError{"parameter", "holds a semicolon, plain or encoded, which begins parameters to some servers"}
	errPathDelimiter = &PathError{"encoded_delimiter", "holds an encoded question mark or number sign, at which some servers end it"}
	errPathDouble    = &PathError{"double_encoding", "holds an escape that is itself encoded"}
	errPathUTF8      = &PathError{"utf8", "holds escapes that are no valid UTF-8"}
	errPathLookalike = &PathError{"lookalike", "holds a character that some servers turn into a slash, dot, backslash, semicolon or percent sign"}
	errPathEmpty     = &PathError{"empty_segment", "holds two slashes in a row"}
	errPathDots      = &PathError{"dot_segment", "holds a segment of dots"}
)

// NormalizePath returns the normal form of a request's path as it stands on
// the wire, without query: the only spelling of what it decodes to. Escapes of
// characters that may stand for themselves are decoded, all others written in
// upper case; case is kept, and so is a slash at the end. An empty path is
// "/". A path that a server might read as another one has no normal form: the
// error is then a *PathError.
func NormalizePath(raw string) (string, error) {
	path, fault := normalize(raw)
	if fault != nil {
		return "", fault
	}
	return path, nil
}

func normalize(raw string) (string, *PathError) {
	switch {
	case raw == "":
		return "/", nil
	case len(raw) > maxPath:
		return "", errPathLong
	case raw[0] != '/':
		return "", errPathRelative
	}
	escaped := false
	for _, c := range []byte(raw) {
		if c == '%' {
			escaped = true
		} else if fault := plainFault(c); fault != nil {
			return "", fault
		}
	}
	path := raw
	if escaped {
		var fault *PathError
		if path, fault = normalizeEscapes(raw); fault != nil {
			return "", fault
		}
	}
	if fault := checkSegments(path); fault != nil {
		return "", fault
	}
	return path, nil
}

// plainByte reports whether c stands for itself in a normal path: pchar of
// RFC 3986 without ';', and the slash.
func plainByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '-', '.', '_', '~', '!', '$', '&', '\'', '(', ')', '*', '+', ',', '=', ':', '@', '/':
		return true
	}
	return false
}

func plainFault(c byte) *PathError {
	switch {
	case plainByte(c):
		return nil
	case c == '\\':
		return errPathBackslash
	case c == ';':
		return errPathParameter
	}
	return errPathCharacter
}

// normalizeEscapes rewrites every escape and checks what was decoded.
func normalizeEscapes(raw string) (string, *PathError) {
	out := make([]byte, 0, len(raw))
	var high []byte // runs of bytes that must be UTF-8
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
				return "", errPathEscape
			}
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
			if fault := escapeFault(c); fault != nil {
				return "", fault
			}
		}
		if c >= utf8.RuneSelf {
			high = append(high, c)
		} else if fault := checkRunes(high); fault != nil {
			return "", fault
		} else {
			high = high[:0]
		}
		if plainByte(c) {
			out = append(out, c)
		} else {
			out = append(out, '%', upperHex(c>>4), upperHex(c&15))
		}
	}
	if fault := checkRunes(high); fault != nil {
		return "", fault
	}
	path := string(out)
	return path, checkDouble(path)
}

// escapeFault names what an escape may not hide.
func escapeFault(c byte) *PathError {
	switch {
	case c == 0:
		return errPathNUL
	case c < ' ' || c == 0x7f:
		return errPathControl
	}
	switch c {
	case '/':
		return errPathSlash
	case '\\':
		return errPathBackslash
	case ';':
		return errPathParameter
	case '?', '#':
		return errPathDelimiter
	}
	return nil
}

// checkRunes refuses overlong and other broken UTF-8, controls, and what folds
// to a character with a meaning where a server maps to a narrower character
// set or normalises (NFKC).
func checkRunes(b []byte) *PathError {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n < 2 {
			return errPathUTF8
		}
		if unicode.IsControl(r) {
			return errPathControl
		}
		switch r {
		case '\uff0f', '\uff0e', '\uff3c', '\uff1b', '\uff05', '\ufe52', '\ufe68', '\ufe54', '\ufe6a', // full width, small
			'\u2024', '\u2025', '\u2026', // one to three dots
			'\u2044', '\u2215', '\u2216', '\u037e': // fraction and division slash, set minus, Greek question mark
			return errPathLookalike
		}
		b = b[n:]
	}
	return nil
}

// checkDouble looks for an encoded percent sign that would begin an escape,
// also in IIS's %uXXXX form.
func checkDouble(path string) *PathError {
	for rest := path; ; {
		_, after, ok := strings.Cut(rest, "%25")
		if !ok {
			return nil
		}
		if len(after) >= 2 && isHex(after[0]) && isHex(after[1]) || len(after) >= 1 && after[0]|0x20 == 'u' {
			return errPathDouble
		}
		rest = after
	}
}

// checkSegments refuses empty segments, except after the last slash, and
// segments of dots, with blanks after them or not: Windows drops both.
func checkSegments(path string) *PathError {
	for rest, more := path[1:], true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if segment == "" {
			if more {
				return errPathEmpty
			}
			return nil
		}
		if segment[0] == '.' || segment[0] == '%' {
			if strings.Trim(strings.ReplaceAll(segment, "%20", ""), ".") == "" {
				return errPathDots
			}
		}
	}
	return nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

func upperHex(c byte) byte { return "0123456789ABCDEF"[c] }
