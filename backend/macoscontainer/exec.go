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
	"github.com/bottle-mcp/bottle-mcp/backend/terminal"
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
	// maxSignals is how many signals may wait for their turn.
	maxSignals = 64
	// killPause is how long a killed command may take to be noticed before it
	// is killed once more.
	killPause = 500 * time.Millisecond
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
	as, ok := r.ids(cmd.User)
	if !ok {
		return backend.ExitStatus{Code: codeNoUser, StartError: fmt.Sprintf("there is no user %.60q: use %q or %q", cmd.User, r.Account.Name, "root")}, nil
	}
	if err := b.prove(ctx, r); err != nil {
		return fail(err)
	}
	c := &running{b: b, id: id, agent: r.Account, as: as, cmd: cmd, streams: streams, token: vmguest.NewToken()}
	status, err := c.run(ctx)
	if err != nil {
		return fail(err)
	}
	return status, nil
}

// userIDs are whom a command runs as. Numbers are used, so that no passwd of an
// image decides who runs.
type userIDs struct{ uid, gid int }

func idsOf(a backend.Account) userIDs { return userIDs{a.UID, a.GID} }

// ids are those of a user's name.
func (r record) ids(name string) (userIDs, bool) {
	switch {
	case r.Account.Is(name):
		return idsOf(r.Account), true
	case name == "root":
		return userIDs{}, true
	}
	return userIDs{}, false
}

// running is one command in a guest.
type running struct {
	b       *Backend
	id      backend.ID
	agent   backend.Account
	as      userIDs
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
	filter := vmguest.NewStderrFilter(orDiscard(c.streams.Stderr), c.token)
	stdout := newFlow(c.streams.Stdout)
	stdin, closeInput := c.input()
	defer closeInput()
	// The program outlives ctx a little: it carries the news of the end.
	carrier, drop := context.WithCancel(context.WithoutCancel(ctx))
	defer drop()
	done := make(chan ended, 1)
	go func() {
		res, err := c.b.cli.Exec(carrier, cli.ExecRequest{
			Container: roleAgent.name(c.id), Argv: vmguest.RunArgv(c.cmd, c.agent, c.token), UID: c.as.uid, GID: c.as.gid, Workdir: "/",
			Interactive: stdin != nil, Stdin: stdin, Stdout: stdout.writer(), Stderr: filter,
		})
		done <- ended{res, err}
	}()
	e, err := c.await(ctx, done, filter.Ended(), stdout)
	if err != nil {
		drop()
		c.settle(done)
		return backend.ExitStatus{}, err
	}
	if !e.known {
		drop() // something it left behind holds the output open
		c.settle(done)
	}
	if err := filter.Close(); err != nil {
		return backend.ExitStatus{}, err
	}
	if status, ok := filter.Result(); ok {
		return status, nil
	}
	return backend.ExitStatus{}, c.lost(ctx, e.ended)
}

// outcome is how a command ended; known is false when the program that carries
// it still runs.
type outcome struct {
	ended

	known bool
}

// await passes signals on and ends the command with ctx. The program lingers for
// up to six seconds when something that the command left behind holds its
// output open; so the trailer's word counts once the output is quiet.
func (c *running) await(ctx context.Context, done <-chan ended, trailer <-chan struct{}, stdout *flow) (outcome, error) {
	signals := c.streams.Signals
	queue := make(chan int, maxSignals)
	defer close(queue)
	if signals != nil {
		go func() {
			for n := range queue {
				c.signal(ctx, n, false)
			}
		}()
	}
	var quiet <-chan struct{}
	for {
		select {
		case e := <-done:
			if ctx.Err() != nil {
				return outcome{}, context.Cause(ctx)
			}
			return outcome{e, true}, nil
		case <-trailer:
			trailer, quiet = nil, stdout.quiet(ctx)
		case <-quiet:
			if ctx.Err() != nil {
				return outcome{}, context.Cause(ctx)
			}
			return outcome{}, nil
		case n, ok := <-signals:
			if !ok {
				signals = nil
				continue
			}
			select {
			case queue <- n:
			default:
				c.b.log.Warn("a signal is dropped: too many wait", "bottle", c.id, "signal", n)
			}
		case <-ctx.Done():
			c.end(ctx, done)
			return outcome{}, context.Cause(ctx)
		}
	}
}

// settle waits until the program that was told to end has let go of the streams.
func (c *running) settle(done <-chan ended) {
	select {
	case <-done:
	case <-time.After(leaveTime):
		c.b.log.Warn("the container program does not end", "bottle", c.id)
	}
}

// end kills the command's tree and waits until the program knows. A command
// whose start the engine delays is not there yet: it is asked for again.
func (c *running) end(ctx context.Context, done <-chan ended) {
	deadline := time.Now().Add(leaveTime)
	if grace := min(c.cmd.Grace, maxGrace); grace > 0 {
		begun := time.Now()
		c.signal(ctx, int(syscall.SIGTERM), true)
		if awaitEnd(done, grace-time.Since(begun)) {
			return
		}
	}
	for time.Now().Before(deadline) {
		c.signal(ctx, int(syscall.SIGKILL), true)
		if awaitEnd(done, killPause) {
			return
		}
	}
	c.b.log.Warn("the engine does not notice that a command was killed", "bottle", c.id)
}

// awaitEnd reports whether the program ended in time. It leaves the news in the
// channel for settle.
func awaitEnd(done <-chan ended, within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if len(done) > 0 {
			return true
		}
		select {
		case <-timer.C:
			return len(done) > 0
		case <-tick.C:
		}
	}
}

// signal sends a signal to the command inside the guest: the program itself
// passes a few of them only.
func (c *running) signal(ctx context.Context, n int, tree bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signalTimeout)
	defer cancel()
	_, err := c.b.cli.Exec(ctx, cli.ExecRequest{
		Container: roleAgent.name(c.id), Argv: vmguest.SignalArgv(c.token, n, tree), UID: c.as.uid, GID: c.as.gid, Workdir: "/",
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
	if perr := c.b.proveNow(ctx, c.id); perr != nil {
		return errors.Join(perr, err)
	}
	if err == nil {
		err = fmt.Errorf("the engine ended it with %d and lost its status; run it again", e.result.Code)
	}
	return err
}

// input is what the wrapper reads; nil = nothing. The descriptor of a pipe is
// handed on, which spares every byte a copy. Call the function when the program
// reads no more.
func (c *running) input() (io.Reader, func()) {
	if c.cmd.TTY != nil {
		in := terminal.NewInput(c.streams)
		return in, func() { _ = in.Close() } // it has no error to tell
	}
	if end, ok := c.streams.Stdin.(backend.PipeEnd); ok {
		return end.File, func() {}
	}
	return c.streams.Stdin, func() {}
}
