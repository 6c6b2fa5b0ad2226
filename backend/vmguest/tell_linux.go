package vmguest

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of writing the trailer.
const (
	// tellPatience is how long a reader may take who does not read.
	tellPatience = 10 * time.Minute
	// tellHurry is how long the trailer is tried once nobody wants it any more.
	tellHurry = 200 * time.Millisecond
	// tellPoll bounds one wait for room.
	tellPoll = 100 // milliseconds
)

// This process's streams, which are the command's.
const (
	stdinFD  = 0
	stdoutFD = 1
	stderrFD = 2
)

// tell writes the trailer. It does not wait for ever: whoever asked for the
// command may have gone, and a signal says so.
func (w *wrapper) tell(t Trailer) error {
	line, err := t.Encode(w.token)
	if err != nil {
		return fmt.Errorf("encode the command's status: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- writeStderr(line) }()
	patience := time.NewTimer(tellPatience)
	defer patience.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("write the command's status: %w", err)
			}
			return nil
		case <-w.stop:
			patience.Reset(tellHurry)
		case <-w.now:
			patience.Reset(tellHurry)
		case <-patience.C:
			return errors.New("nobody reads the command's status")
		}
	}
}

// writeStderr writes all of line. The command shares the descriptor's mode and
// may have made it non-blocking.
func writeStderr(line []byte) error {
	for len(line) > 0 {
		n, err := unix.Write(stderrFD, line)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			_, _ = unix.Poll([]unix.PollFd{{Fd: stderrFD, Events: unix.POLLOUT}}, tellPoll)
		case err != nil:
			return err
		default:
			line = line[n:]
		}
	}
	return nil
}
