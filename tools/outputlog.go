package tools

import (
	"fmt"
	"io"
	"sync/atomic"
)

// spoolBytes is how much output is held back before a file is made: most
// commands say little and shall cost no file.
const spoolBytes = 64 << 10

// logFile is where a command's full output goes.
type logFile struct {
	name string
	w    io.WriteCloser
	// budget is what the bottle's logs may still take; shared between them.
	budget *atomic.Int64
}

// logOpener makes a logFile when one is needed.
type logOpener func() (logFile, error)

// outputLog is the full output of one command, both streams as they came. It
// becomes a file when it is long or when somebody needs the file. A log that
// cannot be kept says so; it never fails the command. Not safe for concurrent
// use.
type outputLog struct {
	open  logOpener
	limit int64

	spool   []byte
	file    logFile // file.w is nil until there is one
	written int64
	note    string // why the log is missing or incomplete
	closed  bool
}

// logState is where a log stands.
type logState struct {
	name  string // "" = there is no file
	bytes int64  // in the file
	note  string
}

func (l *outputLog) state() logState {
	return logState{name: l.file.name, bytes: l.written, note: l.note}
}

func (l *outputLog) write(p []byte) {
	if l.closed || l.note != "" {
		return
	}
	if l.file.w == nil && len(l.spool)+len(p) <= spoolBytes {
		l.spool = append(l.spool, p...)
		return
	}
	l.spill()
	l.append(p)
}

// spill moves the spool into the file and makes the file first.
func (l *outputLog) spill() {
	if l.file.w != nil || l.note != "" {
		return
	}
	file, err := l.open()
	if err != nil {
		l.spool = nil
		l.note = fmt.Sprintf("the full output was not kept: %v", err)
		return
	}
	l.file = file
	spool := l.spool
	l.spool = nil
	l.append(spool)
	if l.closed {
		l.closeFile()
	}
}

func (l *outputLog) append(p []byte) {
	if l.note != "" || len(p) == 0 {
		return
	}
	allowed := l.reserve(int64(len(p)))
	n, err := l.file.w.Write(p[:allowed])
	l.written += int64(n)
	switch {
	case err != nil:
		l.note = fmt.Sprintf("only the first %d bytes of output were kept: %v", l.written, err)
	case allowed < int64(len(p)):
		l.note = fmt.Sprintf("only the first %d bytes of output were kept: the bound of this server", l.written)
	}
}

// reserve takes up to n bytes of both bounds and says how many it got.
func (l *outputLog) reserve(n int64) int64 {
	n = max(0, min(n, l.limit-l.written))
	if left := l.file.budget.Add(-n); left < 0 {
		back := min(n, -left)
		l.file.budget.Add(back)
		n -= back
	}
	return n
}

// close ends the file. A spool that never became one stays in memory: a later
// view may still need it.
func (l *outputLog) close() {
	l.closed = true
	if l.file.w != nil {
		l.closeFile()
	}
}

func (l *outputLog) closeFile() {
	if err := l.file.w.Close(); err != nil && l.note == "" {
		l.note = fmt.Sprintf("the output may not be kept in full: %v", err)
	}
}
