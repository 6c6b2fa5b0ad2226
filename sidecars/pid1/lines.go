package pid1

import (
	"bytes"
	"io"
	"sync"
)

const (
	// maxLine bounds one line of a daemon.
	maxLine = 1 << 10
	// maxErrorLog is the size at which the log begins anew; the one before it
	// is kept.
	maxErrorLog = 4 << 20
	// maxStderr bounds what goes to the container's log, which the engine
	// neither bounds nor rotates.
	maxStderr = 8 << 20
)

// lineLog gathers the lines of the init and its daemons, each with the name of
// who said it. What cannot be written is dropped: it is not the decision log.
type lineLog struct {
	mu     sync.Mutex
	stderr io.Writer
	left   int // bytes that may still go to stderr
	file   io.Writer
	size   int
	// renew puts the file aside and opens the next one.
	renew func() (io.Writer, error)
}

func newLineLog(stderr io.Writer) *lineLog { return &lineLog{stderr: stderr, left: maxStderr} }

// toFile has lines written to file too, which has size bytes already.
func (l *lineLog) toFile(file io.Writer, size int, renew func() (io.Writer, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file, l.size, l.renew = file, size, renew
}

func (l *lineLog) line(who string, text []byte) {
	out := who + ": " + printable(string(text)) + "\n"
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left > 0 {
		if l.left -= len(out); l.left <= 0 {
			out += "init: the rest is in the log file only\n"
		}
		_, _ = io.WriteString(l.stderr, out)
	}
	if l.file == nil {
		return
	}
	if l.size+len(out) > maxErrorLog {
		next, err := l.renew()
		if err != nil {
			return // full, and no other: the lines before are the ones that explain
		}
		l.file, l.size = next, 0
	}
	l.size += len(out)
	_, _ = io.WriteString(l.file, out)
}

// writer returns what a process' output is written to. It may be used by one
// goroutine.
func (l *lineLog) writer(who string) *lineWriter { return &lineWriter{log: l, who: who} }

// lineWriter cuts what is written to it into lines. Of a line that is too long
// it keeps the beginning.
type lineWriter struct {
	log  *lineLog
	who  string
	held []byte
}

// Write implements io.Writer. It takes everything.
func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		room := maxLine + 1 - len(w.held) // one more shows that it was cut
		w.held = append(w.held, line[:min(len(line), max(room, 0))]...)
		if ended {
			w.flush()
		}
		p = rest
	}
	return n, nil
}

// flush ends a line that has no end.
func (w *lineWriter) flush() {
	if len(w.held) > 0 {
		w.log.line(w.who, w.held)
		w.held = w.held[:0]
	}
}
