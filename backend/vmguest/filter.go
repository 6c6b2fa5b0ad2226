package vmguest

import (
	"bytes"
	"io"
	"sync"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// StderrFilter passes a command's standard error on and takes the trailer out.
// It delays nothing but bytes that may be the beginning of a trailer. Use
// NewStderrFilter. It is safe for concurrent use.
type StderrFilter struct {
	mu     sync.Mutex
	to     io.Writer
	mark   []byte
	held   []byte // a beginning of a trailer, or nothing
	status backend.ExitStatus
	told   bool
	ended  chan struct{}
	err    error
}

// NewStderrFilter returns a filter for the command with that token.
func NewStderrFilter(to io.Writer, token string) *StderrFilter {
	return &StderrFilter{to: to, mark: trailerMark(token), ended: make(chan struct{})}
}

// Write implements io.Writer. It never fails: when the writer behind it does,
// the rest of the output is dropped, so that the status still arrives; Close
// tells.
func (f *StderrFilter) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		if len(f.held) == 0 {
			p = f.plain(p)
			continue
		}
		p = f.candidate(p)
	}
	return n, nil
}

// plain passes on what comes before a separator and returns what follows it.
func (f *StderrFilter) plain(p []byte) []byte {
	i := bytes.IndexByte(p, separator)
	if i < 0 {
		f.pass(p)
		return nil
	}
	f.pass(p[:i])
	f.held = append(f.held, separator)
	return p[i+1:]
}

// candidate extends what is held by p and returns what is left of p.
func (f *StderrFilter) candidate(p []byte) []byte {
	for len(f.held) < len(f.mark) {
		if len(p) == 0 {
			return nil
		}
		if p[0] != f.mark[len(f.held)] {
			f.release()
			return p
		}
		f.held, p = append(f.held, p[0]), p[1:]
	}
	end := bytes.IndexAny(p, "\n\x1e")
	size := end
	if end < 0 {
		size = len(p)
	}
	if len(f.held)+size >= maxTrailer {
		f.release()
		return p
	}
	f.held = append(f.held, p[:size]...)
	if end < 0 {
		return nil
	}
	if p[end] == separator {
		f.release()
		return p[end:]
	}
	f.finish()
	return p[end+1:]
}

// finish has a whole line that begins like a trailer.
func (f *StderrFilter) finish() {
	t, err := parseTrailer(f.held[len(f.mark):])
	if err != nil {
		f.held = append(f.held, '\n')
		f.release()
		return
	}
	f.held = f.held[:0]
	f.status = t.Status()
	if !f.told {
		f.told = true
		close(f.ended)
	}
}

// release passes on what was held: it is no trailer.
func (f *StderrFilter) release() {
	f.pass(f.held)
	f.held = f.held[:0]
}

func (f *StderrFilter) pass(p []byte) {
	if len(p) == 0 || f.err != nil {
		return
	}
	_, f.err = f.to.Write(p)
}

// Close passes on what was held and returns the first error of the writer
// behind. It does not close that writer.
func (f *StderrFilter) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release()
	return f.err
}

// Result returns the status that the last trailer told, and whether there was
// one.
func (f *StderrFilter) Result() (backend.ExitStatus, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status, f.told
}

// Ended is closed at the first trailer: the command has ended, or says so. What
// it left behind may keep its streams open for ever, so a caller need not wait
// for their end.
func (f *StderrFilter) Ended() <-chan struct{} { return f.ended }
