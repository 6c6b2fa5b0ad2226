package macoscontainer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
	"github.com/bottle-mcp/bottle-mcp/backend/vmguest"
)

// Timings of a command's end.
const (
	// maxGrace is the longest time between SIGTERM and SIGKILL.
	maxGrace = time.Second
	// leaveTime is how long the program may take to notice that the command
	// was killed: the engine drains output for up to three seconds, and so
	// does the program.
	leaveTime = 7 * time.Second
	// signalTimeout bounds the delivery of one signal.
	signalTimeout = 10 * time.Second
)

// Exit codes of this program's own verdict, as shells have them.
const (
	codeNoUser = 126
)

// Exec implements backend.Backend. The command runs below this program's own
// wrapper in the guest, which takes away the ways to more privilege, tells the
// command's real status apart from the engine's, and knows its process tree.
func (b *Backend) Exec(ctx context.Context, id backend.ID, cmd backend.Command, streams backend.Streams) (backend.ExitStatus, error) {
	fail := func(err error) (backend.ExitStatus, error) {
		return backend.ExitStatus{}, fmt.Errorf("run a command in bottle %s: %w", id, err)
	}
	if len(cmd.Argv) == 0 {
		return fail(errors.New("the command is empty"))
	}
	r, err := b.known(ctx, id)
	if err != nil {
		return fail(err)
	}
	uid, ok := userID(cmd.User)
	if !ok {
		return backend.ExitStatus{Code: codeNoUser, StartError: fmt.Sprintf("there is no user %.60q: use %q or %q", cmd.User, backend.AgentUser, "root")}, nil
	}
	if err := b.prove(ctx, r); err != nil {
		return fail(err)
	}
	c := &running{b: b, id: id, uid: uid, cmd: cmd, streams: streams, token: vmguest.NewToken()}
	status, err := c.run(ctx)
	if err != nil {
		return fail(err)
	}
	return status, nil
}

// userID is the uid of a user's name. Numbers are used, so that no passwd of
// an image decides who runs.
func userID(name string) (int, bool) {
	switch name {
	case "", backend.AgentUser:
		return backend.AgentUID, true
	case "root":
		return 0, true
	}
	return 0, false
}

// running is one command in a guest.
type running struct {
	b       *Backend
	id      backend.ID
	uid     int
	cmd     backend.Command
	streams backend.Streams
	token   string
}

// ended is how the program that carries the command ended.
type ended struct {
	result cli.ExecResult
	err    error
}

func (c *running) run(ctx context.Context) (backend.ExitStatus, error) {
	stderr := c.streams.Stderr
	if stderr == nil {
		stderr = io.Discard
	}
	filter := vmguest.NewStderrFilter(stderr, c.token)
	// The program outlives ctx a little: it carries the news of the end.
	carrier, drop := context.WithCancel(context.WithoutCancel(ctx))
	defer drop()
	done := make(chan ended, 1)
	go func() {
		res, err := c.b.cli.Exec(carrier, cli.ExecRequest{
			Container: roleAgent.name(c.id), Argv: vmguest.RunArgv(c.cmd, c.token), UID: c.uid, GID: c.uid, Workdir: "/",
			Interactive: c.streams.Stdin != nil, Stdin: input(c.streams.Stdin), Stdout: output(c.streams.Stdout), Stderr: filter,
		})
		done <- ended{res, err}
	}()
	e, err := c.await(ctx, done, drop)
	if err != nil {
		return backend.ExitStatus{}, err
	}
	if err := filter.Close(); err != nil {
		return backend.ExitStatus{}, err
	}
	if status, ok := filter.Result(); ok {
		return status, nil
	}
	return backend.ExitStatus{}, c.lost(ctx, e)
}

// await passes signals on and ends the command with ctx.
func (c *running) await(ctx context.Context, done <-chan ended, drop func()) (ended, error) {
	signals := c.streams.Signals
	for {
		select {
		case e := <-done:
			if ctx.Err() != nil {
				return ended{}, context.Cause(ctx)
			}
			return e, nil
		case n, ok := <-signals:
			if !ok {
				signals = nil
				continue
			}
			go c.signal(ctx, n, false)
		case <-ctx.Done():
			c.end(ctx, done)
			drop()
			return ended{}, context.Cause(ctx)
		}
	}
}

// end kills the command's tree and waits until the program knows.
func (c *running) end(ctx context.Context, done <-chan ended) {
	if grace := min(c.cmd.Grace, maxGrace); grace > 0 {
		begun := time.Now()
		c.signal(ctx, int(syscall.SIGTERM), true)
		select {
		case <-done:
			return
		case <-time.After(grace - time.Since(begun)):
		}
	}
	c.signal(ctx, int(syscall.SIGKILL), true)
	select {
	case <-done:
	case <-time.After(leaveTime):
		c.b.log.Warn("the engine does not notice that a command was killed", "bottle", c.id)
	}
}

// signal sends a signal to the command inside the guest: the program itself
// passes a few of them only.
func (c *running) signal(ctx context.Context, n int, tree bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signalTimeout)
	defer cancel()
	_, err := c.b.cli.Exec(ctx, cli.ExecRequest{
		Container: roleAgent.name(c.id), Argv: vmguest.SignalArgv(c.token, n, tree), UID: c.uid, GID: c.uid, Workdir: "/",
	})
	if err != nil {
		c.b.log.Warn("a signal did not reach its command", "bottle", c.id, "signal", n, "error", err)
	}
}

// lost explains a command whose wrapper did not tell its status.
func (c *running) lost(ctx context.Context, e ended) error {
	c.b.seen.forget(c.id)
	err := e.err
	if err == nil && e.result.Failure != nil {
		err = e.result.Failure
	}
	var failed *cli.Error
	if errors.As(err, &failed) {
		switch failed.Kind {
		case cli.KindNotFound, cli.KindState:
			return fmt.Errorf("%w: %w", backend.ErrNotRunning, err)
		default:
		}
	}
	if _, perr := c.b.proveNow(ctx, c.id); perr != nil {
		return errors.Join(perr, err)
	}
	if err == nil {
		err = fmt.Errorf("the engine ended it with %d and lost its status; run it again", e.result.Code)
	}
	return err
}

// input hands the descriptor of a pipe on, which spares every byte a copy.
func input(r io.Reader) io.Reader {
	if end, ok := r.(backend.PipeEnd); ok {
		return end.File
	}
	return r
}

func output(w io.Writer) io.Writer {
	if end, ok := w.(backend.PipeEnd); ok {
		return end.File
	}
	return w
}
