package macoscontainer

import (
	"strings"
	"unicode"
)

// tail keeps the last bytes written to it.
type tail struct {
	limit int
	data  []byte
}

// Write implements io.Writer; it never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if len(t.data) > 2*t.limit {
		t.data = append([]byte(nil), t.data[len(t.data)-t.limit:]...)
	}
	return len(p), nil
}

// String is the text for an error: the end of it, printable, on one line.
func (t *tail) String() string {
	text := t.data[max(0, len(t.data)-t.limit):]
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(string(text), string(unicode.ReplacementChar)))
	return strings.TrimSpace(clean)
}
