package images

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"

	"github.com/bottle-mcp/bottle-mcp/backend/command"
)

// Bounds of what is passed on of a build's log.
const (
	tailLines = 20
	maxLine   = 500
)

// colour is a terminal's control sequence; without its escape character the
// rest would stay as noise.
var colour = regexp.MustCompile("\x1b\\[[0-9;?]*[ -/]*[@-~]")

// buildLog passes a build's log on line by line and keeps its end. What a build
// prints is foreign: lines are bounded and printable.
type buildLog struct {
	mu      sync.Mutex
	dst     io.Writer // nil discards
	partial []byte
	tail    []string
}

// Write implements io.Writer and never fails: a build does not end because
// nobody reads its progress.
func (l *buildLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for {
		end := bytes.IndexAny(p, "\r\n")
		if end < 0 {
			break
		}
		l.partial = appendBounded(l.partial, p[:end])
		l.emit()
		p = p[end+1:]
	}
	l.partial = appendBounded(l.partial, p)
	return n, nil
}

// appendBounded keeps the beginning of a line that has no end.
func appendBounded(line, more []byte) []byte {
	return append(line, more[:min(len(more), max(0, 4*maxLine-len(line)))]...)
}

// say is a line of our own.
func (l *buildLog) say(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial[:0], line...)
	l.emit()
}

// emit ends the line begun; empty ones are left out. The caller holds the lock.
func (l *buildLog) emit() {
	line := colour.ReplaceAllString(string(l.partial), "")
	l.partial = l.partial[:0]
	line = strings.TrimRight(command.Printable(line, len(line)), " \t\n")
	if cut := []rune(line); len(cut) > maxLine {
		line = string(cut[:maxLine]) + "…"
	}
	if line == "" {
		return
	}
	if l.tail = append(l.tail, line); len(l.tail) > tailLines {
		l.tail = l.tail[1:]
	}
	if l.dst != nil {
		_, _ = io.WriteString(l.dst, line+"\n") // see Write
	}
}

// end gives the last lines, the one without an end included.
func (l *buildLog) end() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.emit()
	return l.tail
}
