package tools

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// execPlan is an execInput that has been checked.
type execPlan struct {
	in        execInput
	id        backend.ID
	command   backend.Command
	timeout   time.Duration // 0 = none given, for a background job
	action    string
	signal    string
	maxOutput int
	tail      int
	wait      time.Duration
}

// plan checks the arguments and fills in defaults.
func (in execInput) plan() (*execPlan, error) {
	c := &checks{}
	p := &execPlan{in: in, id: c.id("id", in.ID)}
	given := 0
	for _, is := range []bool{len(in.Command) > 0, in.Script != "", in.Job != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		c.fail("", "give exactly one of \"command\", \"script\" and \"job\"")
	}
	if in.Job != "" {
		in.checkJob(c)
	} else {
		in.checkStart(c)
		p.command = in.build(c)
	}
	in.checkNumbers(c)
	p.action, p.signal = in.action(), in.signal()
	p.maxOutput, p.tail = in.maxOutput(), in.tail()
	p.timeout, p.wait = in.timeout(), in.wait()
	if in.Background {
		p.maxOutput = min(p.maxOutput, maxJobOutput)
		p.timeout = time.Duration(in.TimeoutSeconds) * time.Second
	}
	return p, c.err()
}

// The arguments with their defaults. Some clients fill in every default of a
// schema: a default says nothing, so it is never misplaced.

func (in execInput) action() string { return cmp.Or(in.Action, "poll") }
func (in execInput) signal() string { return cmp.Or(in.Signal, defaultSignal) }
func (in execInput) maxOutput() int { return cmp.Or(in.MaxOutputBytes, defaultMaxOutput) }
func (in execInput) tail() int      { return cmp.Or(in.TailBytes, defaultTail) }
func (in execInput) wait() time.Duration {
	return cmp.Or(time.Duration(in.WaitSeconds)*time.Second, defaultWait)
}
func (in execInput) timeout() time.Duration {
	return cmp.Or(time.Duration(in.TimeoutSeconds)*time.Second, defaultTimeout)
}

func (in execInput) checkNumbers(c *checks) {
	c.between("timeout_seconds", in.TimeoutSeconds, 1, 3600)
	c.between("max_output_bytes", in.MaxOutputBytes, minMaxOutput, maxMaxOutput)
	c.between("tail_bytes", in.TailBytes, 1, maxJobOutput)
	c.between("wait_seconds", in.WaitSeconds, 1, 3600)
	if len(in.Stdin) > maxStdin {
		c.fail("stdin", "must be at most %d bytes long; use cp for more", maxStdin)
	}
}

// misplaced refuses arguments that would do nothing: silence would let a
// caller believe that they did.
func misplaced(c *checks, problem string, given map[string]bool) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if given[name] {
			c.fail(name, "%s", problem)
		}
	}
}

// checkStart refuses what belongs to a job that exists.
func (in execInput) checkStart(c *checks) {
	misplaced(c, `needs "job"`, map[string]bool{
		"action": in.action() != "poll", "tail_bytes": in.tail() != defaultTail, "wait_seconds": in.wait() != defaultWait,
		"close_stdin": in.CloseStdin, "signal": in.signal() != defaultSignal,
	})
	if in.KeepStdin && !in.Background {
		c.fail("keep_stdin", `needs "background": true`)
	}
}

// checkJob refuses what belongs to a start, and what the action has no use for.
func (in execInput) checkJob(c *checks) {
	misplaced(c, `belongs to the start of a command, not to "job"`, map[string]bool{
		"cwd": in.Cwd != "", "user": in.User != "" && in.User != backend.AgentUser, "env": len(in.Env) > 0,
		"timeout_seconds": in.timeout() != defaultTimeout, "max_output_bytes": in.maxOutput() != defaultMaxOutput,
		"background": in.Background, "keep_stdin": in.KeepStdin,
	})
	action := in.action()
	c.oneOf("action", action, []string{"poll", "wait", "write", "signal"})
	c.oneOf("signal", in.signal(), sendable())
	misplaced(c, `needs "action": "write"`, map[string]bool{
		"stdin": in.Stdin != "" && action != "write", "close_stdin": in.CloseStdin && action != "write",
	})
	misplaced(c, `needs "action": "signal"`, map[string]bool{"signal": in.signal() != defaultSignal && action != "signal"})
	misplaced(c, `needs "action": "wait"`, map[string]bool{"wait_seconds": in.wait() != defaultWait && action != "wait"})
	if action == "write" && in.Stdin == "" && !in.CloseStdin {
		c.fail("stdin", `is missing: action "write" needs "stdin", "close_stdin" or both`)
	}
}

// build makes the command.
func (in execInput) build(c *checks) backend.Command {
	argv := in.Command
	if in.Script != "" {
		argv = []string{"/bin/sh", "-c", in.Script}
	}
	if len(argv) > 0 && argv[0] == "" {
		c.fail("command", "must begin with a program")
	}
	for _, arg := range argv {
		if strings.ContainsRune(arg, 0) || !utf8.ValidString(arg) {
			c.fail(map[bool]string{true: "script", false: "command"}[in.Script != ""], "must be UTF-8 without NUL")
			break
		}
	}
	cmd := backend.Command{Argv: argv, User: in.User, Grace: execGrace}
	if in.Cwd != "" {
		cmd.Dir = c.guestPath("cwd", in.Cwd)
	}
	c.user("user", in.User)
	c.env("env", in.Env)
	for _, name := range slices.Sorted(maps.Keys(in.Env)) {
		cmd.Env = append(cmd.Env, name+"="+in.Env[name])
	}
	return cmd
}
