package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

// removeTimeout bounds the removal of a bottle after its command.
const removeTimeout = 20 * time.Second

// killGrace is what the command gets between SIGTERM and SIGKILL when its time
// is up or its output is gone.
const killGrace = 500 * time.Millisecond

// Reasons why run ends a command early.
var (
	errTimeLimit   = errors.New("time limit")
	errOutputGone  = errors.New("output closed")
	errTwiceSignal = errors.New("second interrupt")
)

// runOptions are the flags of run.
type runOptions struct {
	bottles   []string
	workspace string
	env       []string
	timeout   time.Duration
	ttl       time.Duration
	user      string
	backend   string
	dryRun    bool
	asJSON    bool
	copying   copyRules
	recording ledgerRules
	only      onlyFlags
}

func newRun(c *cli) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG…]",
		Short: "Run one command in a bottle of its own",
		Long: `run launches a bottle, runs COMMAND in it and removes the bottle, whatever
happens. Output streams live and the exit code is the command's. Signals go to
the command; a second Ctrl-C kills it.

A workspace is copied in, without files that look like credentials. What the
command changes there stays in the bottle and goes with it.

With --dry-run nothing is started: it prints what the bottle could reach, what
would be injected and copied, its limits and its backend.`,
		Example: `  bottle-mcp run -- uname -a
  bottle-mcp run --bottle go-modules --dry-run
  bottle-mcp run --workspace . --bottle go-modules -- go test ./...`,
		Args: func(_ *cobra.Command, args []string) error { return o.arguments(args) },
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), o, args) },
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the command is the command's
	flags.StringArrayVar(&o.bottles, "bottle", nil, "bottle manifest; may be repeated, later ones win (default \"default\")")
	flags.StringVar(&o.workspace, "workspace", "", "directory to copy in")
	flags.StringArrayVar(&o.env, "env", nil, "NAME=VALUE for the command; not for secrets")
	flags.DurationVar(&o.timeout, "timeout", 0, "kill the command after this long (exit code 124)")
	flags.DurationVar(&o.ttl, "ttl", 0, "the bottle ends then even if this program was killed")
	flags.StringVar(&o.user, "user", "", "user in the bottle (default agent)")
	flags.StringVar(&o.backend, "backend", "", "backend to use (default: the first that works)")
	o.recording.add(flags)
	flags.BoolVar(&o.dryRun, "dry-run", false, "print the plan and start nothing")
	flags.BoolVar(&o.asJSON, "json", false, "with --dry-run: print JSON")
	o.only.add(flags)
	o.copying.add(flags)
	return cmd
}

// liveBottle is the bottle that run has launched and must remove.
type liveBottle struct {
	bottles tools.Bottles
	id      backend.ID
}

// run is the verb: launch, exec, remove.
func (c *cli) run(ctx context.Context, o runOptions, argv []string) error {
	if err := o.recording.check("run"); err != nil {
		return err
	}
	env, err := parseEnv(o.env)
	if err != nil {
		return err
	}
	only, err := o.only.rules()
	if err != nil {
		return err
	}
	if o.workspace != "" {
		if o.workspace, err = filepath.Abs(o.workspace); err != nil {
			return fmt.Errorf("--workspace: %w", err)
		}
	}
	surviveClosedPipe()
	app, err := c.open(ctx, wiring{roots: rootsFor(o.workspace), copying: o.copying, recording: o.recording, merge: true})
	if err != nil {
		return &codedError{exitNoBottle, err}
	}
	req := o.request(argv, env)
	req.Only = only
	if o.dryRun {
		return c.preflight(ctx, app.bottles, req, o.asJSON)
	}
	bottle, err := c.launch(ctx, app.bottles, req)
	if err != nil {
		return &codedError{exitNoBottle, err}
	}
	c.noteLeftOut(bottle.WorkspaceCopy)
	live := liveBottle{app.bottles, bottle.ID}
	err = c.runCommand(ctx, live, backend.Command{Argv: argv, User: o.user, Grace: killGrace}, o.timeout)
	removeErr := live.remove(ctx)
	if err == nil {
		return removeErr
	}
	printError(c.con.err, c.con.errStyle(), removeErr) // beside the command's outcome, which keeps its code
	return err
}

// launch plans and launches with progress.
func (c *cli) launch(ctx context.Context, bottles tools.Bottles, req provision.LaunchRequest) (*provision.Bottle, error) {
	bar := &progress{con: c.con}
	defer bar.clear()
	plan, err := bottles.Plan(ctx, req)
	if err != nil {
		return nil, err
	}
	return bottles.Launch(ctx, plan, bar.event)
}

// runCommand runs the command with this program's streams and says how it ended.
func (c *cli) runCommand(ctx context.Context, bottle liveBottle, cmd backend.Command, limit time.Duration) error {
	// The launch's context ends with the first signal; the command gets that
	// signal instead and decides for itself.
	execCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	if limit > 0 {
		timer := time.AfterFunc(limit, func() { cancel(errTimeLimit) })
		defer timer.Stop()
	}
	signals, stop := forwardSignals(func() { cancel(errTwiceSignal) })
	defer stop()
	if interrupted(ctx) { // between launch and here
		return ctx.Err()
	}
	outputGone := func() { cancel(errOutputGone) }
	result, err := bottle.bottles.Exec(execCtx, operator, bottle.id, cmd, backend.Streams{
		Stdin:   c.con.in,
		Stdout:  &watchedWriter{to: c.con.out, failed: outputGone},
		Stderr:  &watchedWriter{to: c.con.err, failed: outputGone},
		Signals: signals,
	})
	c.printRefusals(result)
	switch cause := context.Cause(execCtx); {
	case errors.Is(cause, errTimeLimit):
		return &codedError{exitTimeout, fmt.Errorf("%s was killed after %s, its time limit", cmd.Argv[0], limit)}
	case errors.Is(cause, errOutputGone):
		return &exitError{128 + int(syscall.SIGPIPE)}
	case errors.Is(cause, errTwiceSignal):
		return &exitError{exitInterrupted}
	case err != nil:
		return &codedError{exitNoBottle, err}
	case result.Status.StartError != "":
		return &codedError{result.Status.Code, fmt.Errorf("%s did not start: %s", cmd.Argv[0], result.Status.StartError)}
	case result.Status.Code != 0:
		return &exitError{result.Status.Code}
	}
	return nil
}

// printRefusals says why the way out was closed: without it a person sees only
// the command's own "403" or "connection refused".
func (c *cli) printRefusals(result provision.ExecResult) {
	const most = 5
	for i, refusal := range result.Refusals {
		if i == most {
			c.con.notef("bottle-mcp: and %d more refusals", len(result.Refusals)-most)
			return
		}
		c.con.notef("bottle-mcp: %s", oneLine(refusalText(refusal), 0))
	}
	if len(result.Refusals) > 0 {
		c.con.notef("  %s a bottle manifest can allow the host: egress.routes[].host", c.con.errStyle().bold("hint:"))
	}
}

// remove ends the bottle also after an interrupt.
func (b liveBottle) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	items, err := b.bottles.Cleanup(ctx, provision.CleanupRequest{IDs: []backend.ID{b.id}, Principal: operator}, func(provision.Event) {})
	for _, item := range items {
		if !item.Done {
			err = errors.Join(err, fmt.Errorf("bottle %s is not removed: %s", item.ID, item.Reason))
		}
	}
	if err != nil {
		return &codedError{exitNoBottle, withHint(err, "try again with 'bottle-mcp cleanup "+string(b.id)+"'")}
	}
	return nil
}

// forwardSignals delivers this program's signals as numbers. The second
// interrupt calls again.
func forwardSignals(again func()) (<-chan int, func()) {
	received := make(chan os.Signal, 16)
	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	out := make(chan int, cap(received))
	done := make(chan struct{})
	go func() {
		interrupts := 0
		for {
			select {
			case <-done:
				return
			case s := <-received:
				if s == syscall.SIGINT {
					interrupts++
				}
				if interrupts > 1 {
					again()
					return
				}
				if number, ok := s.(syscall.Signal); ok {
					select {
					case out <- linuxSignal(number):
					default: // a storm of signals: the command has enough of them
					}
				}
			}
		}
	}()
	var once sync.Once
	return out, func() {
		once.Do(func() {
			signal.Stop(received)
			close(done)
		})
	}
}

// surviveClosedPipe makes a write to a pipe without a reader an error instead
// of the end: this process has a bottle to remove.
func surviveClosedPipe() { signal.Ignore(syscall.SIGPIPE) }

// linuxSignal is the guest's number of a host signal: USR1 and USR2 differ on
// a Mac.
func linuxSignal(s syscall.Signal) int {
	switch s {
	case syscall.SIGUSR1:
		return 10
	case syscall.SIGUSR2:
		return 12
	default:
		return int(s)
	}
}

// watchedWriter calls failed once when a write fails, and swallows what
// follows, so that the guest's output never blocks.
type watchedWriter struct {
	to     io.Writer
	failed func()
	dead   bool
}

// Write implements io.Writer.
func (w *watchedWriter) Write(p []byte) (int, error) {
	if w.dead {
		return len(p), nil
	}
	if _, err := w.to.Write(p); err != nil {
		w.dead = true
		w.failed()
	}
	return len(p), nil
}

// parseEnv splits NAME=VALUE arguments.
func parseEnv(pairs []string) (map[string]string, error) {
	env := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usagef("run", "--env %q is not NAME=VALUE", pair)
		}
		env[name] = value
	}
	return env, nil
}
