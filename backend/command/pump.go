package command

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// pump copies one stream of a program to a writer. os/exec would do it too, but
// it waits without bound for a writer that blocks.
type pump struct {
	read, write *os.File
	dst         io.Writer
	writing     atomic.Bool
	failure     error // valid after done
	done        chan struct{}
}

func newPump(dst io.Writer) (*pump, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &pump{read: r, write: w, dst: dst, done: make(chan struct{})}, nil
}

func (p *pump) start() {
	_ = p.write.Close() // the program's alone now
	go func() {
		defer close(p.done)
		p.failure = p.copy()
		_ = p.read.Close() // a program that still writes gets SIGPIPE
	}()
}

func (p *pump) copy() error {
	buf := make([]byte, 32<<10)
	for {
		n, err := p.read.Read(buf)
		if n > 0 {
			p.writing.Store(true)
			_, werr := p.dst.Write(buf[:n])
			p.writing.Store(false)
			if werr != nil {
				return werr
			}
		}
		if err != nil {
			return nil //nolint:nilerr // the end, or drain let go
		}
	}
}

// abandon is for a program that did not start.
func (p *pump) abandon() {
	_ = p.read.Close()
	_ = p.write.Close()
}

// stuckTime is for a pump that was let go to notice it.
const stuckTime = time.Second

// drain waits for the rest of the output. held says that somebody else has the
// pipe open; the error is the writer's.
func drain(pumps []*pump, wait time.Duration) (held bool, err error) {
	limit := time.NewTimer(wait)
	defer limit.Stop()
	for i, p := range pumps {
		select {
		case <-p.done:
			err = errors.Join(err, p.failure)
		case <-limit.C:
			letGo(pumps[i:])
			return true, errors.Join(err, stuck(pumps[i:]))
		}
	}
	return false, err
}

func letGo(pumps []*pump) {
	for _, p := range pumps {
		_ = p.read.SetReadDeadline(time.Now())
	}
}

func stuck(pumps []*pump) error {
	limit := time.NewTimer(stuckTime)
	defer limit.Stop()
	for _, p := range pumps {
		select {
		case <-p.done:
			if p.failure != nil {
				return p.failure
			}
		case <-limit.C:
			if p.writing.Load() {
				return errWriter
			}
		}
	}
	return nil
}

// feed copies a caller's input into the program. A program may end before its
// input does, so a broken pipe is no failure.
func feed(dst io.WriteCloser, src io.Reader) <-chan error {
	failed := make(chan error, 1)
	go func() {
		defer dst.Close() //nolint:errcheck // nothing is buffered
		_, err := io.Copy(dst, src)
		if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
			failed <- err
		}
	}()
	return failed
}
