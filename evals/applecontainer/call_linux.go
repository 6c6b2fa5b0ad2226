package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/grammar" //nolint:depguard // the contract as data, which the stand-in exists to follow
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/engine"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

const (
	exitFailure = 1
	// exitKilled is what a shell says of SIGKILL.
	exitKilled = 137
	// exitNever is noted for a call that does not end by itself.
	exitNever = -1
)

// call is one run of the program.
type call struct {
	engine  *engine.Engine
	faults  faults.Set
	program shape.Program
	parsed  grammar.Parsed
	action  faults.Action
	out     io.Writer    // results
	held    bytes.Buffer // results that are printed at the end
	argv    []string
	start   time.Time
}

// program runs one command line and returns the exit status.
func program(ctx context.Context, argv []string) int {
	e, err := engine.Open(stateDir())
	if err != nil {
		complain(fmt.Errorf("stand-in: %w", err))
		return exitBroken
	}
	c := &call{engine: e, faults: e.Faults(), argv: argv, start: time.Now()}
	c.program.Release = c.release()
	code := c.run(ctx)
	if err := c.note(code); err != nil {
		complain(fmt.Errorf("stand-in: %w", err))
		return exitBroken
	}
	return code
}

// release is the version that is imitated.
func (c *call) release() string {
	implied := map[string]string{"": grammar.Version(), faults.ShapePre10: "0.12.3", faults.Shape13: "1.3.0"}
	return cmp.Or(c.faults[faults.Version], implied[c.faults[faults.JSONShape]])
}

// parse reads the command line as the imitated release does. Releases before
// 1.0.0 are in no contract: the oldest that is stands for them.
func (c *call) parse() (grammar.Parsed, error) {
	parsed, err := grammar.ParseAs(c.program.Release, c.argv)
	var refusal *grammar.Refusal
	if err != nil && !errors.As(err, &refusal) {
		return grammar.ParseAs("1.0.0", c.argv)
	}
	return parsed, err
}

func (c *call) run(ctx context.Context) int {
	parsed, err := c.parse()
	if err != nil {
		return refuse(err)
	}
	c.parsed = parsed
	if parsed.Info != "" {
		return c.inform(parsed.Info)
	}
	c.action, err = c.engine.TakeAction(ctx, parsed.Command())
	if err != nil {
		complain(fmt.Errorf("stand-in: %w", err))
		return exitBroken
	}
	c.out = &c.held
	if c.action == "" && streams(parsed) {
		c.out = os.Stdout
	}
	if code, done := c.before(); done {
		return code
	}
	return c.finish(c.command(ctx))
}

// streams says whether a command's output is another process's.
func streams(p grammar.Parsed) bool {
	switch p.Command() {
	case "exec", "run", "start", "logs":
		return true
	default:
		return false
	}
}

func refuse(err error) int {
	var refusal *grammar.Refusal
	if !errors.As(err, &refusal) {
		complain(fmt.Errorf("stand-in: %w", err))
		return exitBroken
	}
	text := "Error: " + refusal.Message
	if refusal.Code != exitFailure {
		text += "\nUsage: container [--debug] <subcommand>\n  See 'container --help' for more information."
	}
	complain(errors.New(text))
	return refusal.Code
}

// inform prints what needs no daemon.
func (c *call) inform(info string) int {
	text := "OVERVIEW: A container platform for macOS\n\nUSAGE: container [--debug] <subcommand>\n"
	if info == "version" {
		text = c.program.Line() + "\n"
	}
	_, _ = io.WriteString(os.Stdout, text)
	return 0
}

// before does what goes wrong before anything is done.
func (c *call) before() (code int, done bool) {
	switch c.action {
	case faults.Fail:
		complain(&failure{engine.Failf(engine.InternalError, "a fault was asked for")})
		return exitFailure, true
	case faults.Hang:
		_ = c.note(exitNever) // nobody waits for a word from a call that hangs
		for {
			time.Sleep(time.Hour)
		}
	case faults.Kill:
		c.die()
	}
	return 0, false
}

// die ends this program as SIGKILL does.
func (c *call) die() {
	_ = c.note(exitKilled) // nobody could be told
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	time.Sleep(time.Minute) // the signal is under way
}

// finish prints the result, or what goes wrong behind the effect.
func (c *call) finish(code int, err error) int {
	if err != nil {
		code = cmp.Or(code, exitFailure)
	}
	text := c.held.Bytes()
	switch c.action {
	case faults.KillAfter:
		c.die()
	case faults.KillParent:
		if parent := os.Getppid(); parent > 1 {
			_ = unix.Kill(parent, unix.SIGKILL)
		}
		return code
	case faults.Garbage:
		text, err, code = []byte("\x00\xff}{ [\"id\": 7,, <html>"), nil, 0
	case faults.Truncate:
		text = text[:len(text)/2]
	case faults.Endless:
		_ = c.note(exitNever)
		endless(os.Stdout)
	}
	if _, writeErr := os.Stdout.Write(text); writeErr != nil {
		code = exitFailure
	}
	if err != nil {
		complain(&failure{err})
	}
	return code
}

// endless writes until nobody reads.
func endless(out io.Writer) {
	line := []byte(strings.Repeat(`[{"id":"`, 512) + "\n")
	for {
		if _, err := out.Write(line); err != nil {
			return
		}
	}
}

// failure is an error as the program prints it.
type failure struct{ err error }

func (f *failure) Error() string { return "Error: " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// note appends the call to the log of calls, in one write.
func (c *call) note(code int) error {
	line, err := json.Marshal(map[string]any{
		"argv": append([]string{}, c.argv...), "pid": os.Getpid(), "start": c.start, "end": time.Now(), "exit": code, "code": code,
	})
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(stateDir(), "calls.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("the log of calls cannot be opened: %w", err)
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// print writes text to the results.
func (c *call) print(text string) { _, _ = io.WriteString(c.out, text) }

func (c *call) println(text string) { c.print(text + "\n") }

// format is the value of --format.
func (c *call) format() string {
	format, _ := c.parsed.Last("format")
	return format
}

func (c *call) flag(name string) bool { return c.parsed.Flags[name] }

func (c *call) last(name string) string {
	value, _ := c.parsed.Last(name)
	return value
}
