package dlp

import (
	"bytes"
	"errors"
	"strings"
)

// filler overwrites what was found. It is a character of every alphabet that
// text is encoded in but hexadecimal, and no digit.
const filler = 'X'

// mostRounds bounds how often a text is scanned again.
const mostRounds = 8

// ErrNotRedactable is returned for a text in which something was found that
// cannot be overwritten where it stands: it is compressed, or stays readable.
var ErrNotRedactable = errors.New("what was found cannot be overwritten; refuse the text")

// Redact returns a copy of text, of the same length, in which everything that
// weighs is overwritten, and what was found. It scans its result again until it
// is clean. Encoded text is overwritten as far as the encoding goes, so that
// more may be lost than the secret.
func (s *Scanner) Redact(o StreamOptions, text []byte) ([]byte, []Finding, error) {
	out := bytes.Clone(text)
	var all []Finding
	for range mostRounds {
		found := s.ScanWith(o, out)
		if Decide(found, OnMatchRedact) == Pass {
			return out, all, nil
		}
		done := 0
		for _, f := range found {
			if v := verdict(f, OnMatchRedact); v == Redact && overwrite(out, f) {
				done++
			} else if v == Refuse {
				done = -len(found)
			}
		}
		all = append(all, found...)
		if done <= 0 {
			break
		}
	}
	return nil, all, ErrNotRedactable
}

// overwrite fills what a finding covers and reports whether it could.
func overwrite(text []byte, f Finding) bool {
	start, end := int(f.Start), int(f.End)
	if f.Via != "" {
		outermost, _, _ := strings.Cut(f.Via, ">")
		switch outermost {
		case "base64", "base32", "hex", "escapes":
			end = start + encodedLength(text[start:])
		default:
			return false
		}
	}
	for i, b := range text[start:end] {
		if !structural(b) {
			text[start+i] = filler
		}
	}
	return true
}

// encodedLength is how far encoded text goes at most.
func encodedLength(text []byte) int {
	for i, b := range text {
		if endsWord(b) {
			return i
		}
	}
	return len(text)
}

// structural reports what keeps its place, so that JSON stays JSON and a form a
// form.
func structural(b byte) bool {
	return b <= ' ' || bytes.IndexByte([]byte("\"'`{}[](),;:&=?#/<>"), b) >= 0
}
