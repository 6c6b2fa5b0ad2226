package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// cancelledDrain bounds the wait for output of a program that was ended: its
// group is dead, and the caller has gone.
const cancelledDrain = 500 * time.Millisecond

// Run runs a program and returns when it has ended. The error is nil exactly
// when it ended with status 0 and its output was delivered, else an *Error.
func Run(ctx context.Context, spec Spec) (Result, error) {
	began := time.Now()
	spec.defaults()
	path, err := Find(spec.Name, spec.Env)
	if err != nil {
		e := newError(spec, err)
		e.Missing = errors.Is(err, fs.ErrNotExist)
		return Result{Code: -1}, e
	}
	if _, err := os.Stat(spec.Dir); spec.Dir != "" && err != nil { // else it looks like a missing program
		return Result{Code: -1}, newError(spec, fmt.Errorf("its working directory: %w", err))
	}
	if spec.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, spec.Timeout)
		defer cancel()
	}
	ctx, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	p := &process{spec: spec}
	p.stdout, p.stderr = p.captures(func() { kill(ErrOverflow) })
	p.cmd = exec.CommandContext(ctx, path, spec.Args...)
	err = p.run(ctx)
	res := p.result()
	res.Elapsed = time.Since(began)
	if err == nil {
		return res, nil
	}
	e := newError(spec, err)
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		e.Err = nil
	}
	e.Code, e.Signal = res.Code, res.Signal
	e.Stderr = Printable(string(res.Stderr), maxStderr)
	return res, e
}

// process is a run under way.
type process struct {
	spec           Spec
	cmd            *exec.Cmd
	stdout, stderr *capture
	pumps          []*pump
	held           bool
	ended          atomic.Bool // by us
}

// captures are made for every run, used where the caller gave no writer.
func (p *process) captures(overflow func()) (stdout, stderr *capture) {
	out := int64(p.spec.MaxStdout)
	stdout = &capture{maxHead: p.spec.MaxStdout, limit: out, overflow: overflow}
	stderr = &capture{maxHead: stderrHead, maxTail: stderrTail, limit: maxChatter, overflow: overflow}
	return stdout, stderr
}

func (p *process) run(ctx context.Context) error {
	p.prepare()
	if err := p.connect(); err != nil {
		p.abandon()
		return err
	}
	input, err := p.start()
	if err != nil {
		p.abandon()
		if ctx.Err() != nil {
			return Ended(ctx)
		}
		return err
	}
	stop := p.forward()
	err = p.cmd.Wait()
	stop()
	wait := p.spec.WaitDelay
	if p.ended.Load() {
		p.signalGroup(syscall.SIGKILL) // what ignored SIGTERM and outlived the program
		wait, err = min(wait, cancelledDrain), Ended(ctx)
	}
	held, undelivered := drain(p.pumps, wait)
	p.held = held
	switch {
	case p.ended.Load():
		return err
	case p.stdout.full() || p.stderr.full():
		return ErrOverflow // with its last words
	case undelivered != nil:
		return undelivered // the program most likely died of it
	case err != nil:
		return err
	}
	select {
	case err := <-input:
		return err
	default:
		return nil
	}
}

// Ended says why ctx ended: always ctx's own error, so that callers can branch
// on it, and the cause where it says more. ctx must have ended.
func Ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrOverflow) || errors.Is(cause, ctx.Err()) {
		return cause
	}
	return fmt.Errorf("%w: %w", ctx.Err(), cause)
}

func (p *process) prepare() {
	cmd, spec := p.cmd, p.spec
	cmd.Args[0] = spec.Name
	cmd.Env, cmd.Dir = spec.Env, spec.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !spec.Foreground}
	cmd.WaitDelay = spec.Grace // then os/exec kills the program itself
	cmd.Cancel = func() error {
		p.ended.Store(true)
		p.signalGroup(syscall.SIGTERM)
		return nil
	}
}

// signalGroup reaches the program and what it started, as far as that stayed in
// its group.
func (p *process) signalGroup(s syscall.Signal) {
	if p.spec.Foreground {
		_ = p.cmd.Process.Signal(s) // fails when it has ended, which is the aim
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, s) // the same
}

// connect gives the program its output streams.
func (p *process) connect() error {
	var err error
	if p.cmd.Stdout, err = p.output(p.spec.Stdout, p.stdout); err != nil {
		return err
	}
	p.cmd.Stderr, err = p.output(p.spec.Stderr, p.stderr)
	return err
}

func (p *process) output(dst io.Writer, captured *capture) (io.Writer, error) {
	if f, ok := dst.(*os.File); ok && f != nil {
		return f, nil
	}
	if dst == nil {
		dst = captured
	}
	pump, err := newPump(dst)
	if err != nil {
		return nil, err
	}
	p.pumps = append(p.pumps, pump)
	return pump.write, nil
}

// start starts the program, its input and its output.
func (p *process) start() (<-chan error, error) {
	if f, ok := p.spec.Stdin.(*os.File); ok && p.spec.Foreground {
		p.cmd.Stdin = f
		return nil, p.begin()
	}
	if p.spec.Stdin == nil {
		return nil, p.begin()
	}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := p.begin(); err != nil {
		return nil, err
	}
	return feed(in, p.spec.Stdin), nil
}

func (p *process) begin() error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	for _, pump := range p.pumps {
		pump.start()
	}
	return nil
}

func (p *process) abandon() {
	for _, pump := range p.pumps {
		pump.abandon()
	}
}

// forward passes signals on until stop.
func (p *process) forward() (stop func()) {
	if p.spec.Signals == nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case s, ok := <-p.spec.Signals:
				if !ok {
					return
				}
				_ = p.cmd.Process.Signal(s) // fails when it has just ended
			}
		}
	}()
	return func() { close(done) }
}

func (p *process) result() Result {
	res := Result{Code: -1, Held: p.held, Stdout: p.stdout.Bytes(), Stderr: p.stderr.Bytes()}
	state := p.cmd.ProcessState
	if state == nil {
		return res
	}
	res.Code = state.ExitCode()
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		res.Signal = ws.Signal()
	}
	return res
}
