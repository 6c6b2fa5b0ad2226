package provision

import "bytes"

// maxLine is more than anybody reads of one line of a build.
const maxLine = 1 << 10

// lineWriter calls each for every whole line that is not blank.
type lineWriter struct {
	each func(string)
	rest []byte
}

// Write implements io.Writer; it never fails.
func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		w.add(p[:i])
		w.flush()
		p = p[i+1:]
	}
	w.add(p)
	return n, nil
}

// add keeps what still fits the line.
func (w *lineWriter) add(p []byte) {
	w.rest = append(w.rest, p[:min(len(p), maxLine-len(w.rest))]...)
}

// flush ends the line.
func (w *lineWriter) flush() {
	line := bytes.TrimRight(bytes.ToValidUTF8(w.rest, []byte("�")), "\r\n \t")
	if len(line) > 0 {
		w.each(string(line))
	}
	w.rest = w.rest[:0]
}
