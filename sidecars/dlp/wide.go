package dlp

import "bytes"

// widePairs is how many characters in a row must be of two bytes, one of them
// zero, to be taken for UTF-16.
const widePairs = 8

// wideReader finds ASCII in UTF-16, of either byte order: text in which every
// other byte is zero.
type wideReader struct {
	layer
	from  int64 // where the search stands
	after int64 // where the last text ended
	out   []byte
}

func (w *wideReader) reset() { w.active, w.from, w.after = false, 0, 0 }

func (w *wideReader) read(v *view, last bool) {
	for {
		if !w.active && !w.search(v) {
			return
		}
		if !w.decode(v) && !last {
			return
		}
		w.end(w.out)
		w.from, w.after = w.at, w.at
	}
}

func (w *wideReader) flush() {
	w.inner.write(w.out)
	w.out = w.out[:0]
}

// search looks for a zero byte that alternates with text.
func (w *wideReader) search(v *view) bool {
	i := int(w.from - v.base)
	for {
		z := bytes.IndexByte(v.buf[i:], 0)
		if z < 0 {
			w.from = v.base + int64(len(v.buf))
			return false
		}
		i += z
		pairs, enough := alternates(v.buf[i:])
		switch {
		case pairs == widePairs:
			w.open(v, i)
			return true
		case !enough:
			w.from = v.base + int64(i)
			return false
		}
		for i < len(v.buf) && v.buf[i] == 0 {
			i++
		}
	}
}

// alternates counts pairs of a zero and a character. It reports false when
// there may be more in what is yet to come.
func alternates(b []byte) (pairs int, enough bool) {
	for pairs < widePairs {
		switch {
		case len(b) == 0 || len(b) == 1 && b[0] == 0:
			return pairs, false
		case b[0] != 0 || !printable(b[1]):
			return pairs, true
		}
		pairs++
		b = b[2:]
	}
	return pairs, true
}

func printable(b byte) bool {
	return b >= ' ' && b < 0x7f || b == '\n' || b == '\r' || b == '\t'
}

// open begins with the character before the zero, which is its other half when
// the low byte comes first.
func (w *wideReader) open(v *view, zero int) {
	start := zero
	if zero > 0 && printable(v.buf[zero-1]) && v.base+int64(zero) > w.after {
		start--
	}
	w.name = "utf-16"
	w.begin(v, v.base+int64(start))
	w.out = append(w.out[:0], v.buf[start:zero]...)
	w.at = v.base + int64(zero)
}

// decode takes whole pairs and reports whether the text ended.
func (w *wideReader) decode(v *view) bool {
	i := int(w.at - v.base)
	for ; i+1 < len(v.buf); i += 2 {
		if v.buf[i] != 0 || v.buf[i+1] == 0 {
			w.at = v.base + int64(i)
			return true
		}
		w.out = append(w.out, v.buf[i+1])
		if len(w.out) == outSize {
			w.flush()
		}
	}
	w.at = v.base + int64(i)
	return false
}
