package dlp

import "bytes"

// CRLF reports whether a part of a request's head holds a line end that could
// begin a header or another request behind this proxy: as such, percent-encoded
// once or several times, or as a character whose low byte is one (U+560A,
// U+560D). It is no matter of detectors: nothing overrides it.
//
// In headers only line ends that are not encoded count. A single encoded line feed in a query is how forms send text of several
// lines. It is reported only where a header's name or a request follows.
func CRLF(field Field, text []byte) bool {
	for range maxDepth + 1 {
		if lineEnd(field, text) {
			return true
		}
		if field != Host && field != Path && field != Query {
			return false
		}
		next := percentDecoded(text)
		if len(next) == len(text) {
			return false
		}
		if encodedLineEnd(field, text) {
			return true
		}
		text = next
	}
	return true // encoded more often than any server decodes: somebody hides something
}

// lineEnd reports a line end that is not encoded.
func lineEnd(field Field, text []byte) bool {
	if field == Query {
		// What a query decodes to is judged by encodedLineEnd.
		return bytes.ContainsAny(text, "\r") || bytes.Contains(text, []byte("\u560a")) || bytes.Contains(text, []byte("\u560d"))
	}
	return bytes.ContainsAny(text, "\r\n") || bytes.Contains(text, []byte("\u560a")) || bytes.Contains(text, []byte("\u560d"))
}

// encodedLineEnd reports an encoded line end that is no text of a form.
func encodedLineEnd(field Field, text []byte) bool {
	plain := percentDecoded(text)
	if field != Query {
		return bytes.ContainsAny(plain, "\r\n")
	}
	for _, line := range bytes.Split(plain, []byte("\n"))[1:] {
		if headerLike(line) {
			return true
		}
	}
	return bytes.Contains(plain, []byte("\r\n"))
}

// headerLike reports whether a line begins as a header, a request or a status
// does.
func headerLike(line []byte) bool {
	if bytes.Contains(line, []byte("HTTP/")) {
		return true
	}
	for i, b := range line {
		switch {
		case b == ':':
			return i > 0
		case !alnum(b) && b != '-' && b != '_':
			return false
		}
	}
	return false
}

// percentDecoded undoes what is percent-encoded and leaves the rest.
func percentDecoded(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		if text[0] == '%' && len(text) >= 3 && hexDigit(text[1]) && hexDigit(text[2]) {
			out = append(out, hexValue(text[1])<<4|hexValue(text[2]))
			text = text[3:]
			continue
		}
		out = append(out, text[0])
		text = text[1:]
	}
	return out
}
