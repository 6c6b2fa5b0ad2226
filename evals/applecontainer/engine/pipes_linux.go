package engine

import (
	"errors"
	"io"
	"os"
	"time"
)

const (
	// runtimeDrain is how long the guest's side waits for the output of what a
	// process left running.
	runtimeDrain = 3 * time.Second
	// programDrain is how long the program then waits for its reader.
	programDrain = 3 * time.Second
)

// pipes carry a process's streams through this program: when it is killed, its
// caller sees them end although the process goes on.
type pipes struct {
	theirs [3]*os.File
	ours   []*os.File
	copies []<-chan error // of standard output and error
}

func openPipes(s Streams) (*pipes, error) {
	p := &pipes{}
	if err := p.open(s); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pipes) open(s Streams) (err error) {
	if s.Stdin == nil {
		p.theirs[0], err = os.Open(os.DevNull)
	} else {
		var near *os.File
		p.theirs[0], near, err = os.Pipe()
		if err == nil {
			go func() {
				_, _ = io.Copy(near, s.Stdin) // the process need not read
				_ = near.Close()
			}()
		}
	}
	for i, to := range []io.Writer{s.Stdout, s.Stderr} {
		if err != nil {
			return err
		}
		var near *os.File
		near, p.theirs[i+1], err = os.Pipe()
		if err == nil {
			p.ours = append(p.ours, near)
			p.copies = append(p.copies, copied(to, near))
		}
	}
	return err
}

func copied(to io.Writer, from *os.File) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(to, from)
		done <- err
	}()
	return done
}

// release closes the process's ends here.
func (p *pipes) release() {
	for _, file := range p.theirs {
		if file != nil {
			_ = file.Close()
		}
	}
}

func (p *pipes) close() error {
	p.release()
	for _, file := range p.ours {
		_ = file.Close()
	}
	return nil
}

// drain waits for the rest of the output behind the process's end: for what
// its children keep open, and then for a reader that is slow.
func (p *pipes) drain() error {
	late := time.After(runtimeDrain)
	given := false
	for i, done := range p.copies {
		if !given {
			select {
			case err := <-done:
				if ignoreClosed(err) != nil {
					return err
				}
				continue
			case <-late:
				given = true
			}
		}
		_ = p.ours[i].SetReadDeadline(time.Now()) // nothing more is read
		select {
		case err := <-done:
			if ignoreClosed(err) != nil {
				return err
			}
		case <-time.After(programDrain):
			return Failf("timeout", "the output of the process was not read in time")
		}
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
