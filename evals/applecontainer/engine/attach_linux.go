package engine

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// AttachRequest starts a container with its streams on the caller's.
type AttachRequest struct {
	ID      string
	Streams Streams
	Signals <-chan os.Signal
	// Failed marks an error of the start itself.
	Failed func(error) error
}

// RunAttached returns the status of the init process. The container goes on
// when this program is killed.
func (e *Engine) RunAttached(ctx context.Context, req AttachRequest) (int, error) {
	pipes, err := openPipes(req.Streams)
	if err != nil {
		return 0, err
	}
	started, err := e.StartAttached(ctx, req.ID, pipes.theirs)
	if err != nil {
		return 0, errors.Join(req.Failed(err), pipes.close())
	}
	pipes.release()
	type outcome struct {
		code int
		err  error
	}
	ended := make(chan error, 1)
	var last outcome
	go func() {
		last.code, last.err = started.Wait()
		ended <- nil
	}()
	send := func(signal syscall.Signal) {
		if r, err := e.alive(req.ID); err == nil && r != nil {
			_ = unix.Kill(r.PID, signal) // it may have ended meanwhile
		}
	}
	if code, err := forward(req.Signals, ended, send); err != nil {
		return code, nil //nolint:nilerr // the caller insisted; there is nothing to report
	}
	return last.code, errors.Join(last.err, pipes.drain())
}
