package terminal

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// drainTime is how long output may still come after the command has ended,
	// from something that it left behind.
	drainTime = 150 * time.Millisecond
	// maxRest bounds what is read then. The kernel holds less of one terminal.
	maxRest   = 256 << 10
	chunkSize = 8 << 10
)

// Session moves bytes between a terminal and streams while its command runs.
type Session struct {
	pair *Pair
	in   io.ReadCloser
	out  io.WriteCloser
	// output is closed when there is no more output.
	output chan struct{}
	closed sync.Once
}

// Start begins to move bytes: frames of in are acted on, and out gets what the
// command writes. The session owns all three from here on. It is started once
// the command has its copies of the terminal.
func Start(pair *Pair, in io.ReadCloser, out io.WriteCloser) *Session {
	s := &Session{pair: pair, in: in, out: out, output: make(chan struct{})}
	go s.input()
	go func() {
		defer close(s.output)
		s.copyOut()
	}()
	return s
}

// End is called when the command's main process has ended, which hangs up the
// terminal. It returns when the rest of the output has been delivered, or when
// hurry is closed, and ends the session.
func (s *Session) End(hurry <-chan struct{}) {
	// With the last copy of this end the other has reached its end too.
	_ = s.pair.Slave.Close()
	_ = s.pair.Master.SetReadDeadline(time.Now().Add(drainTime))
	select {
	case <-s.output:
	case <-hurry:
	}
	s.Close()
}

// Close ends the session at once: a command that still runs loses its terminal.
func (s *Session) Close() {
	s.closed.Do(func() {
		s.pair.Close()
		_ = s.in.Close()
		_ = s.out.Close()
	})
}

// input acts on frames until the stream ends or the terminal is gone.
func (s *Session) input() {
	defer s.in.Close() // whoever types learns that nobody listens
	frames := newDecoder(s.in)
	fresh := true // nothing has been typed on this line
	for {
		e, err := frames.next()
		switch {
		case err != nil:
			return
		case e.size != nil:
			// It fails when the terminal is gone, and then the next read does.
			control(s.pair.Master, func(fd int) { _ = setSize(fd, *e.size) })
		case e.end:
			s.typeEnd(fresh)
		default:
			fresh = e.input[len(e.input)-1] == '\n' || e.input[len(e.input)-1] == '\r'
			if _, err := s.pair.Master.Write(e.input); err != nil {
				return
			}
		}
	}
}

// typeEnd types the end-of-file character where the terminal has one. Behind
// half a line the first one ends only that.
func (s *Session) typeEnd(fresh bool) {
	var t *unix.Termios
	control(s.pair.Master, func(fd int) { t, _ = unix.IoctlGetTermios(fd, unix.TCGETS) })
	if t == nil || t.Lflag&unix.ICANON == 0 || t.Cc[unix.VEOF] == 0 {
		return
	}
	end := []byte{t.Cc[unix.VEOF], t.Cc[unix.VEOF]}
	if fresh {
		end = end[:1]
	}
	_, _ = s.pair.Master.Write(end)
}

// copyOut copies until the terminal has no other end, or nobody reads.
func (s *Session) copyOut() {
	buf := make([]byte, chunkSize)
	for {
		n, err := s.pair.Master.Read(buf)
		if n > 0 {
			if _, werr := s.out.Write(buf[:n]); werr != nil {
				s.Close() // the terminal hangs up, as when its window is closed
				return
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.rest(buf)
		}
		if err != nil {
			return
		}
	}
}

// rest copies what had come by the deadline: a slow reader of the output must
// not cost it.
func (s *Session) rest(buf []byte) {
	for total := 0; total < maxRest; {
		n := 0
		control(s.pair.Master, func(fd int) { n, _ = unix.Read(fd, buf) })
		if n <= 0 {
			return
		}
		if _, err := s.out.Write(buf[:n]); err != nil {
			return
		}
		total += n
	}
}
