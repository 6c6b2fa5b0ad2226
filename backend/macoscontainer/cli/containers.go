package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/command"
)

// maxLog bounds what Logs returns, maxLogLines what it asks for.
const (
	maxLog      = 64 << 10
	maxLogLines = 10_000
)

// List returns all containers, also stopped and others'.
func (c *CLI) List(ctx context.Context) ([]Container, error) {
	v := subcommand("", "list")
	v.flag("all", true)
	v.option("format", "json")
	out, err := c.do(ctx, call{argv: v, deadline: listDeadline})
	if err != nil {
		return nil, err
	}
	return decoded(v, out, decodeContainer)
}

// Inspect returns one container.
func (c *CLI) Inspect(ctx context.Context, id string) (Container, error) {
	v := subcommand(id, "inspect")
	v.check(checkContainer(id))
	v.words(id)
	out, err := c.do(ctx, call{argv: v, deadline: listDeadline})
	if err != nil {
		return Container{}, err
	}
	return decodedOne(v, out, decodeContainer, func(found Container) bool { return found.ID == id })
}

// Logs returns the last lines that a container's first process printed, made
// printable and bounded. Blank lines are left out.
func (c *CLI) Logs(ctx context.Context, id string, lines int) (string, error) {
	v := subcommand(id, "logs")
	v.check(checkContainer(id))
	if lines < 1 || lines > maxLogLines {
		v.refuse("%d lines of a log: ask for 1 to %d", lines, maxLogLines)
	}
	v.argv = append(v.argv, "-n", strconv.Itoa(lines))
	v.words(id)
	tail := command.NewTail(maxLog)
	if _, err := c.do(ctx, call{argv: v, deadline: logsDeadline, stdout: tail}); err != nil {
		return "", err
	}
	return command.Printable(tail.String(), maxLog), nil
}

// Stop ends a container politely: its stop signal, the grace, then SIGKILL. A
// stopped one is success.
func (c *CLI) Stop(ctx context.Context, req StopRequest) error {
	v := subcommand(req.Container, "stop")
	v.check(checkContainer(req.Container))
	if req.Grace < 0 || req.Grace%time.Second != 0 || req.Grace/time.Second > math.MaxInt32 {
		v.refuse("a grace of %v: give whole seconds", req.Grace)
	}
	v.option("time", strconv.FormatInt(int64(req.Grace/time.Second), 10))
	v.words(req.Container)
	_, err := c.do(ctx, call{argv: v, deadline: req.Grace + stopMargin, gate: c.gates.mutation})
	return err
}

// Kill sends a signal, by name or number, to a running container's first process.
func (c *CLI) Kill(ctx context.Context, id, signal string) error {
	v := subcommand(id, "kill")
	v.check(checkContainer(id))
	if !signalName.MatchString(signal) {
		v.refuse("signal %.40q: use a name such as TERM or a number", signal)
	}
	v.option("signal", signal)
	v.words(id)
	_, err := c.do(ctx, call{argv: v, deadline: killDeadline, gate: c.gates.mutation})
	return err
}

// Delete removes a container; with force also a running one.
func (c *CLI) Delete(ctx context.Context, id string, force bool) error {
	v := subcommand(id, "delete")
	v.check(checkContainer(id))
	v.flag("force", force)
	v.words(id)
	remove := func() error {
		_, err := c.do(ctx, call{argv: v, deadline: deleteDeadline, gate: c.gates.mutation})
		return err
	}
	if !force {
		return remove()
	}
	return c.retry(ctx, afterCommand(), remove)
}

// Copy copies between this host and a running container. Owners, modes and
// links do not survive it, and what it reads is outside the container's mounts.
func (c *CLI) Copy(ctx context.Context, req CopyRequest) error {
	v := subcommand("", "copy")
	from, to := guestSide(v, req.From), guestSide(v, req.To)
	if from == to {
		v.refuse("exactly one of the two paths must be in a container, as ID:/absolute/path")
	}
	v.words(req.From, req.To)
	_, err := c.do(ctx, call{argv: v, deadline: copyDeadline, gate: c.gates.mutation, stdout: io.Discard})
	return err
}

// guestSide reports whether a side of a copy is in a container.
func guestSide(v *vector, side string) bool {
	id, inside, guest := strings.Cut(side, ":")
	if !guest {
		v.check(checkPath("the path on this host", side))
		return false
	}
	v.object = id
	v.check(checkContainer(id))
	v.check(checkPath("the path in the container", inside))
	if err := checkContainer(id); err == nil && inside == "/" {
		v.check(fmt.Errorf("the root of a container cannot be copied"))
	}
	return true
}
