package tools

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// States of a job.
const (
	jobRunning   = "running"
	jobExited    = "exited"
	jobTimedOut  = "timed_out"
	jobCancelled = "cancelled"
	jobFailed    = "failed"
)

// Reasons for a job's context to end.
var (
	errTimeout  = errors.New("the command's time was up")
	errShutdown = errors.New("the server stopped")
	errRemoved  = errors.New("the bottle was removed")
)

// runner runs a job's command; it is Bottles.Exec with all but these bound.
type runner func(ctx context.Context, streams backend.Streams) (provision.ExecResult, error)

// job is one command that outlives the call that started it.
type job struct {
	id      string
	bottle  bottleKey
	guest   bool   // a caller in a bottle started it
	command string // for people, bounded and clean
	started time.Time
	run     runner
	timeout time.Duration // 0 = the bottle's life
	capture *capture
	stdin   *stdinQueue
	signals chan int
	stop    context.CancelCauseFunc

	done chan struct{} // closed when the fields below are set
	outcome
}

// outcome is how a command ended.
type outcome struct {
	ended  time.Time
	result provision.ExecResult
	err    error
	cause  error // of the context's end, nil when it had not ended
}

// state is the word for how the command ended.
func (o outcome) state() string {
	switch {
	case o.err == nil:
		return jobExited
	case errors.Is(o.cause, errTimeout):
		return jobTimedOut
	case o.cause != nil:
		return jobCancelled
	default:
		return jobFailed
	}
}

func (j *job) over() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// await returns when the job has ended, d is over, or ctx ends.
func (j *job) await(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-j.done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// work runs the command to its end.
func (j *job) work(ctx context.Context, log *slog.Logger) {
	defer close(j.done)
	defer j.capture.close()
	defer j.stdin.end()
	if j.timeout > 0 {
		timed, cancel := context.WithTimeoutCause(ctx, j.timeout, errTimeout)
		defer cancel()
		ctx = timed
	}
	j.result, j.err = j.guarded(ctx, log)
	j.ended = time.Now()
	j.cause = context.Cause(ctx)
	log.Debug("job ended", "job", j.id, "bottle", j.bottle.id, "state", j.state(), "err", j.err)
}

// guarded keeps a panic in an engine from ending the server: no middleware
// stands around a job.
func (j *job) guarded(ctx context.Context, log *slog.Logger) (result provision.ExecResult, err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic in a job", "job", j.id, "bottle", j.bottle.id, "panic", p, "stack", string(debug.Stack()))
			err = errors.New("internal error; the server's log has the details")
		}
	}()
	return j.run(ctx, backend.Streams{
		Stdin:   j.stdin,
		Stdout:  j.capture.writer(&j.capture.out, nil),
		Stderr:  j.capture.writer(&j.capture.err, nil),
		Signals: j.signals,
	})
}

// signal queues a signal for the job's process tree.
func (j *job) signal(number int) error {
	select {
	case j.signals <- number:
		return nil
	default:
		return fmt.Errorf("job %s has %d signals waiting to be delivered: poll it, then signal again", j.id, len(j.signals))
	}
}
