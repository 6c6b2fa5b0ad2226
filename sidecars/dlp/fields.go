package dlp

import "bytes"

// joinedFields is the Via of a known secret that was cut over several values.
const joinedFields = "fields"

// format is how a text is divided into values.
type format uint8

const (
	undecided format = iota
	plain
	jsonText
	formText
	multipartText
)

// fieldReader reads the values of JSON, forms and multipart bodies as if they
// stood one after the other, for known secrets that are cut over them. The
// automata of the view find what lies inside one value; this carries the
// beginning of a secret from the end of a value to the next one.
type fieldReader struct {
	format format
	at     int64 // how far the text has been read
	inside bool  // of a value
	begin  int64 // where the value begins
	// state is what the values so far end with. It is followed into a value only
	// as long as it reaches back beyond the value's beginning.
	state  uint32
	follow bool
	seen   int // visible bytes of this value, while following
	// before is the state before the last string, which counts if that turns out
	// to be a name.
	before uint32
	ended  bool   // a string has ended, and nothing but space followed
	border []byte // of multipart
}

const (
	// tailSize is how much of a value's end is looked at for a beginning.
	tailSize = 128
	// shortTail is enough where most bytes are visible: no form is longer than
	// pieceSize.
	shortTail = pieceSize + 8
	// borderSize bounds the border of multipart (RFC 2046 says 70 and dashes).
	borderSize = 80
)

func (r *fieldReader) reset() {
	*r = fieldReader{border: r.border[:0]}
}

// read reads what is new.
func (r *fieldReader) read(v *view, last bool) {
	if r.format == undecided && !r.sniff(v, last) {
		return
	}
	for r.at < v.base+int64(len(v.buf)) {
		from := r.at
		switch r.format {
		case jsonText:
			r.json(v)
		case formText:
			r.form(v)
		case multipartText:
			r.multipart(v, last)
		default:
			r.at = v.base + int64(len(v.buf))
		}
		if r.at == from {
			return
		}
	}
}

// sniff tells the format by how the text begins, whatever it says it is: the
// one who writes it is the one who says it.
func (r *fieldReader) sniff(v *view, last bool) bool {
	text := v.buf[:min(len(v.buf), borderSize)]
	if len(text) < borderSize && !last && v.job.field != Query {
		return false
	}
	for len(text) > 0 && text[0] <= ' ' {
		text = text[1:]
	}
	r.format = plain
	switch {
	case v.job.field == Query && v.depth == 0:
		r.format = formText
	case len(text) < 4:
	case text[0] == '{' || text[0] == '[':
		r.format = jsonText
	case text[0] == '-' && text[1] == '-':
		if border, _, ok := bytes.Cut(text, []byte("\n")); ok {
			r.format = multipartText
			r.border = append(append(r.border[:0], '\n'), bytes.TrimRight(border, "\r")...)
		}
	case alnum(text[0]):
		if name := bytes.IndexByte(text, '='); name > 0 && formName(text[:name]) {
			r.format = formText
		}
	}
	return true
}

func formName(name []byte) bool {
	for _, b := range name {
		if !alnum(b) && bytes.IndexByte([]byte("_.-%[]+"), b) < 0 {
			return false
		}
	}
	return true
}

// json reads to the next end or beginning of a string.
func (r *fieldReader) json(v *view) {
	i := int(r.at - v.base)
	rest := v.buf[i:]
	q := bytes.IndexByte(rest, '"')
	if r.inside {
		if q < 0 {
			q = len(rest)
		}
		r.value(v, i, i+q)
		if q < len(rest) && !r.escaped(v.buf[:i+q]) {
			r.close(v, i+q)
			r.ended = true
		}
		r.at = v.base + int64(min(i+q+1, len(v.buf)))
		return
	}
	if r.ended {
		space := 0
		for space < len(rest) && (rest[space] == ' ' || rest[space] == '\n' || rest[space] == '\t' || rest[space] == '\r') {
			space++
		}
		if space < len(rest) {
			if r.ended = false; rest[space] == ':' {
				r.state = r.before
			}
		}
	}
	if q < 0 {
		r.at = v.base + int64(len(v.buf))
		return
	}
	r.open(v, i+q+1)
}

// escaped reports whether a quote behind text is part of a string.
func (r *fieldReader) escaped(text []byte) bool {
	n := 0
	for n < min(len(text), tailSize) && text[len(text)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// form reads to the next end or beginning of a value.
func (r *fieldReader) form(v *view) {
	i := int(r.at - v.base)
	mark := byte('=')
	if r.inside {
		mark = '&'
	}
	n := bytes.IndexByte(v.buf[i:], mark)
	end := i + n
	if n < 0 {
		end = len(v.buf)
	}
	if !r.inside {
		if n >= 0 {
			r.open(v, end+1)
		} else {
			r.at = v.base + int64(end)
		}
		return
	}
	r.value(v, i, end)
	if n >= 0 {
		r.close(v, end)
		end++
	}
	r.at = v.base + int64(end)
}

// multipart reads to the next border or the end of a part's header.
func (r *fieldReader) multipart(v *view, last bool) {
	i := int(r.at - v.base)
	if !r.inside {
		end, size := headerEnd(v.buf[i:])
		if end >= 0 {
			r.open(v, i+end+size)
		} else {
			r.at = v.base + int64(max(i, len(v.buf)-3))
		}
		return
	}
	n := bytes.Index(v.buf[i:], r.border)
	end := i + n
	if n < 0 {
		// The border may have begun.
		if end = max(i, len(v.buf)-len(r.border)); last {
			end = len(v.buf)
		}
	}
	r.value(v, i, end)
	r.at = v.base + int64(end)
	if n >= 0 {
		r.close(v, end)
		r.at += int64(len(r.border))
	}
}

// headerEnd finds the empty line behind a part's header.
func headerEnd(b []byte) (at, size int) {
	crlf, lf := bytes.Index(b, []byte("\n\r\n")), bytes.Index(b, []byte("\n\n"))
	if crlf >= 0 && (lf < 0 || crlf < lf) {
		return crlf, 3
	}
	return lf, 2
}

// open begins a value at buf[i].
func (r *fieldReader) open(v *view, i int) {
	r.inside, r.begin = true, v.base+int64(i)
	r.at, r.before, r.ended = r.begin, r.state, false
	r.follow, r.seen = v.s.b.pending(r.state) > 0, 0
}

// value follows the state into buf[from:to] of a value.
func (r *fieldReader) value(v *view, from, to int) {
	if !r.follow {
		return
	}
	b := v.s.b
	for i := from; i < to; i++ {
		class := b.class[v.buf[i]]
		if class == 0 {
			continue
		}
		r.state = b.next[r.state+uint32(class)]
		if r.seen++; b.pending(r.state) <= r.seen {
			r.follow = false
			return
		}
		if r.state >= b.accept {
			r.found(v, i+1)
		}
	}
}

// found reports secrets that end before buf[end] and began in an earlier value.
func (r *fieldReader) found(v *view, end int) {
	for _, id := range v.s.b.found(r.state) {
		t := &v.s.targets[id]
		f, on := t.finding(v.job.detectors)
		if !on || t.known.length <= r.seen {
			continue
		}
		f.Via, f.Start, f.End = joinedFields, v.base+int64(end), v.base+int64(end)
		v.sink.found(f)
	}
}

// close ends a value before buf[end].
func (r *fieldReader) close(v *view, end int) {
	r.inside = false
	if r.follow {
		return // the whole value belongs to what began before it
	}
	begin := max(int(r.begin-v.base), 0)
	if r.tail(v, max(begin, end-shortTail), end) < pieceSize && begin < end-shortTail {
		r.tail(v, max(begin, end-tailSize), end)
	}
}

// tail sets the state to what buf[from:end] ends with and returns how many
// visible bytes that is.
func (r *fieldReader) tail(v *view, from, end int) int {
	b, seen := v.s.b, 0
	r.state = 0
	for _, c := range v.buf[from:end] {
		if class := b.class[c]; class != 0 {
			r.state = b.next[r.state+uint32(class)]
			seen++
		}
	}
	return seen
}
