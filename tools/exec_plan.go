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
	p.maxOutput = cmp.Or(in.MaxOutputBytes, defaultMaxOutput)
	p.tail = cmp.Or(in.TailBytes, defaultTail)
	p.wait = cmp.Or(time.Duration(in.WaitSeconds)*time.Second, defaultWait)
	p.timeout = time.Duration(in.TimeoutSeconds) * time.Second
	if in.Background {
		p.maxOutput = min(p.maxOutput, maxJobOutput)
	} else {
		p.timeout = cmp.Or(p.timeout, defaultTimeout)
	}
	return p, c.err()
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
		"action": in.Action != "", "tail_bytes": in.TailBytes != 0, "wait_seconds": in.WaitSeconds != 0,
		"close_stdin": in.CloseStdin, "signal": in.Signal != "",
	})
	if in.KeepStdin && !in.Background {
		c.fail("keep_stdin", `needs "background": true`)
	}
}

// checkJob refuses what belongs to a start, and what the action has no use for.
func (in execInput) checkJob(c *checks) {
	misplaced(c, `belongs to the start of a command, not to "job"`, map[string]bool{
		"cwd": in.Cwd != "", "user": in.User != "", "env": len(in.Env) > 0, "timeout_seconds": in.TimeoutSeconds != 0,
		"max_output_bytes": in.MaxOutputBytes != 0, "background": in.Background, "keep_stdin": in.KeepStdin,
	})
	c.oneOf("action", in.Action, []string{"poll", "wait", "write", "signal"})
	c.oneOf("signal", in.Signal, sendable())
	misplaced(c, `needs "action": "write"`, map[string]bool{
		"stdin": in.Stdin != "" && in.Action != "write", "close_stdin": in.CloseStdin && in.Action != "write",
	})
	misplaced(c, `needs "action": "signal"`, map[string]bool{"signal": in.Signal != "" && in.Action != "signal"})
	misplaced(c, `needs "action": "wait"`, map[string]bool{"wait_seconds": in.WaitSeconds != 0 && in.Action != "wait"})
	if in.Action == "write" && in.Stdin == "" && !in.CloseStdin {
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
