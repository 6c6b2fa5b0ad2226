package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/grammar" //nolint:depguard // the contract as data, which the stand-in exists to follow
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/engine"
)

// forwarded are the signals that the program passes on to the guest.
func forwarded() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH)
	return signals, func() { signal.Stop(signals) }
}

// stdin is the caller's, made non-blocking for whoever else has it too, as the
// program does; nil without --interactive.
func (c *call) stdin() (io.Reader, error) {
	if !c.flag("interactive") {
		return nil, nil
	}
	if c.flag("tty") && !term.IsTerminal(0) {
		return nil, engine.Failf(engine.InvalidArgument, "the standard input is not a terminal")
	}
	if err := unix.SetNonblock(0, true); err != nil {
		return nil, err
	}
	return os.NewFile(0, "stdin"), nil
}

// runContainer creates and starts; what it created goes when the start fails.
func (c *call) runContainer(ctx context.Context) (int, error) {
	id, err := c.createContainer(ctx)
	if err != nil {
		return 0, err
	}
	code := 0
	if c.flag("detach") {
		err = c.engine.Start(ctx, id)
		if err == nil {
			c.println(id)
		}
	} else {
		code, err = c.attached(ctx, id)
	}
	if errors.Is(err, errStart) || (err != nil && c.flag("detach")) {
		// Not forced: one that runs after all survives.
		_ = c.engine.Delete(ctx, engine.DeleteRequest{ID: id})
	}
	if err != nil {
		return code, err
	}
	return code, c.writeCIDFile(id)
}

// errStart marks a start that failed.
var errStart = errors.New("the container did not start")

// startError is an error of a start; it reads as the error alone.
type startError struct{ error }

func (s startError) Unwrap() []error { return []error{s.error, errStart} }

// attached starts a container with its streams on the caller's and waits.
func (c *call) attached(ctx context.Context, id string) (int, error) {
	in, err := c.stdin()
	if err != nil {
		return 0, err
	}
	signals, stop := forwarded()
	defer stop()
	return c.engine.RunAttached(ctx, engine.AttachRequest{
		ID: id, Streams: engine.Streams{Stdin: in, Stdout: c.out, Stderr: os.Stderr}, Signals: signals,
		Failed: func(err error) error { return startError{err} },
	})
}

func (c *call) startContainer(ctx context.Context) (int, error) {
	id := c.parsed.Positionals[0]
	if c.flag("attach") || c.flag("interactive") {
		return c.attached(ctx, id)
	}
	if err := c.engine.Start(ctx, id); err != nil {
		return 0, err
	}
	c.println(id)
	return 0, nil
}

func (c *call) exec(ctx context.Context) (int, error) {
	in, err := c.stdin()
	if err != nil {
		return 0, err
	}
	env, err := c.environment()
	if err != nil {
		return 0, err
	}
	workdir := c.last("workdir")
	if workdir == "" {
		workdir = c.last("cwd")
	}
	req := engine.ExecRequest{
		ID: c.parsed.Positionals[0], Argv: c.parsed.Positionals[1:], Env: env, Workdir: workdir,
		TTY: c.flag("tty"), Detach: c.flag("detach"),
		Streams: engine.Streams{Stdin: in, Stdout: c.out, Stderr: os.Stderr},
	}
	user := grammar.ParseUser(c.parsed)
	req.GroupsAdd = user.Groups
	if !user.Default {
		shaped := userShape(user)
		req.User = &shaped
	}
	signals, stop := forwarded()
	defer stop()
	req.Signals = signals
	code, err := c.engine.Exec(ctx, req)
	if err == nil && c.flag("detach") {
		c.println(req.ID)
	}
	if errors.Is(err, engine.ErrGaveUp) {
		return code, nil
	}
	return code, err
}
