package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

// removeTimeout bounds the removal of a bottle after its command.
const removeTimeout = 20 * time.Second

// killGrace is what the command gets between SIGTERM and SIGKILL when its time
// is up or its output is gone.
const killGrace = 500 * time.Millisecond

// Reasons why run ends a command early.
var (
	errTimeLimit    = errors.New("time limit")
	errOutputGone   = errors.New("output closed")
	errTerminalGone = errors.New("terminal closed")
	errTwiceSignal  = errors.New("second interrupt")
)

// runOptions are the flags of run, and what stands beside them.
type runOptions struct {
	agent     string
	bottles   []string
	label     string
	colour    string
	workspace string
	cwd       bool
	env       []string
	headless  bool
	prompt    string
	tty       bool
	keep      bool
	timeout   time.Duration
	ttl       time.Duration
	user      string
	backend   string
	dryRun    bool
	asJSON    bool
	copying   copyRules
	recording ledgerRules
	only      onlyFlags

	attach bool     // run the agent's own command
	argv   []string // what stands behind "--"
}

func newRun(c *cli) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [flags] AGENT [-- ARG…] | run [flags] -- COMMAND [ARG…]",
		Short: "Run an agent or a command in a bottle of its own",
		Long: `run launches a bottle, runs one thing in it and removes the bottle, whatever
happens. The exit code is that of what ran.

With the name of an agent it starts the agent's own program on this terminal, or
with --headless without one, on the task of --prompt. What stands behind '--'
are further arguments of the program.

With a COMMAND behind '--' it runs that. Output streams live; with --tty the
command has a terminal. Signals go to the command; a second Ctrl-C kills it.

A workspace is copied in, without files that look like credentials. What is
changed there stays in the bottle and goes with it.

What a manifest asks for (env: NAME: "?") is asked on the terminal. Where there is
none, give it with --env NAME, which takes it from the variable of this name here.

With --dry-run nothing is started: it prints what the bottle could reach, what
would be injected and copied, its limits, its backend and what would run.`,
		Example: `  bottle-mcp run web --cwd
  bottle-mcp run web --headless --prompt 'Mend the tests.' --workspace .
  bottle-mcp run -- uname -a
  bottle-mcp run --bottle go-modules --dry-run
  bottle-mcp run --workspace . --bottle go-modules -- go test ./...`,
		Args: func(cmd *cobra.Command, args []string) error { return o.arguments(args, cmd.ArgsLenAtDash()) },
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), o, o.argv) },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return withHint(usagef("run", "%w", err), "a command and its own flags stand behind '--'")
	})
	o.flags(cmd.Flags())
	return cmd
}

func (o *runOptions) flags(flags *pflag.FlagSet) {
	flags.StringVar(&o.agent, "agent", "", "agent to set the bottle up for, where a command runs instead of its own")
	flags.StringArrayVar(&o.bottles, "bottle", nil, "bottle manifest; may be repeated, later ones win (default: the agent's, else \"default\")")
	flags.StringVar(&o.label, "label", "", "name of the bottle for people")
	flags.StringVar(&o.colour, "color", "", "colour of the label in the agent's program: "+strings.Join(provider.Colours(), ", "))
	flags.StringVar(&o.workspace, "workspace", "", "directory to copy in")
	flags.BoolVar(&o.cwd, "cwd", false, "copy in the directory that this was started in")
	flags.StringArrayVar(&o.env, "env", nil, "NAME=VALUE, not for secrets, or NAME to take it from here")
	flags.BoolVar(&o.headless, "headless", false, "run the agent on one task without a terminal; needs --prompt")
	flags.StringVar(&o.prompt, "prompt", "", "the agent's task; - reads it from standard input, with --headless")
	flags.BoolVarP(&o.tty, "tty", "t", false, "give the command a terminal")
	flags.BoolVar(&o.keep, "keep", false, "leave the bottle when all is done, and say which")
	flags.DurationVar(&o.timeout, "timeout", 0, "kill the command after this long (exit code 124)")
	flags.DurationVar(&o.ttl, "ttl", 0, "the bottle ends then even if this program was killed")
	flags.StringVar(&o.user, "user", "", "user in the bottle (default agent)")
	flags.StringVar(&o.backend, "backend", "", "backend to use (default: the first that works)")
	o.recording.add(flags)
	flags.BoolVar(&o.dryRun, "dry-run", false, "print the plan and start nothing")
	flags.BoolVar(&o.asJSON, "json", false, "with --dry-run: print JSON")
	o.only.add(flags)
	o.copying.add(flags)
}

// liveBottle is the bottle that run has launched and must remove.
type liveBottle struct {
	bottles tools.Bottles
	id      backend.ID
}

// run is the verb: launch, exec, remove. argv is what stands behind "--".
func (c *cli) run(ctx context.Context, o runOptions, argv []string) error {
	if err := o.recording.check("run"); err != nil {
		return err
	}
	req, named, err := c.request(o, argv)
	if err != nil {
		return err
	}
	surviveClosedPipe()
	app, err := c.open(ctx, wiring{roots: rootsFor(req.Workspace), copying: o.copying, recording: o.recording, merge: true})
	if err != nil {
		return &codedError{exitNoBottle, err}
	}
	defer app.end()
	plan, err := c.planned(ctx, app.bottles, &req, named)
	if err != nil {
		return &codedError{exitNoBottle, err}
	}
	s := start{runOptions: o, argv: argv, task: req.Prompt, stdin: c.con.in}
	what, err := s.job(plan)
	if err != nil {
		return err
	}
	if what.tty, err = c.wantsTerminal(o); err != nil {
		return err
	}
	if o.dryRun {
		return c.preflight(plan, what, o.asJSON)
	}
	bottle, err := c.launch(ctx, app.bottles, plan, req)
	if err != nil {
		return &codedError{exitNoBottle, err}
	}
	c.noteLeftOut(bottle.WorkspaceCopy)
	live := liveBottle{app.bottles, bottle.ID}
	if what, err = s.inBottle(what, bottle); err == nil {
		err = c.runJob(ctx, live, what, o.timeout)
	}
	if o.keep {
		c.con.notef("bottle-mcp: bottle %s is kept until %s; remove it with 'bottle-mcp cleanup %s'", bottle.ID, bottle.Expires.Local().Format(time.DateTime), bottle.ID)
		return err
	}
	removeErr := live.remove(ctx)
	if err == nil {
		return removeErr
	}
	printError(c.con.err, c.con.errStyle(), removeErr) // beside the command's outcome, which keeps its code
	return err
}

// launch asks what the plan asks, and launches with progress.
func (c *cli) launch(ctx context.Context, bottles tools.Bottles, plan *provision.Plan, req provision.LaunchRequest) (*provision.Bottle, error) {
	if len(plan.Questions) > 0 {
		answers, err := c.ask(ctx, plan.Questions)
		if err != nil {
			return nil, err
		}
		maps.Copy(req.Answers, answers)
		if plan, err = bottles.Plan(ctx, req); err != nil {
			return nil, err
		}
	}
	bar := &progress{con: c.con}
	defer bar.clear()
	return bottles.Launch(ctx, plan, bar.event)
}

// runJob runs what there is to run with this program's streams, or on its
// terminal, and says how it ended.
func (c *cli) runJob(ctx context.Context, bottle liveBottle, what job, limit time.Duration) error {
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
	streams := backend.Streams{
		Stdin:   what.stdin,
		Stdout:  &watchedWriter{to: c.con.out, failed: outputGone},
		Stderr:  &watchedWriter{to: c.con.err, failed: outputGone},
		Signals: signals,
	}
	var result provision.ExecResult
	exec := func() (err error) {
		result, err = bottle.bottles.Exec(execCtx, operator, bottle.id, what.cmd, streams)
		return err
	}
	var err error
	if what.tty {
		err = c.onTerminal(&what, &streams, func() { cancel(errTerminalGone) }, exec)
	} else {
		err = exec()
	}
	c.printRefusals(result)
	switch cause := context.Cause(execCtx); {
	case errors.Is(cause, errTimeLimit):
		return &codedError{exitTimeout, fmt.Errorf("%s was killed after %s, its time limit", what.cmd.Argv[0], limit)}
	case errors.Is(cause, errOutputGone):
		return &exitError{128 + int(syscall.SIGPIPE)}
	case errors.Is(cause, errTerminalGone):
		return &exitError{128 + int(syscall.SIGHUP)}
	case errors.Is(cause, errTwiceSignal):
		return &exitError{exitInterrupted}
	case err != nil:
		return &codedError{exitNoBottle, err}
	case result.Status.StartError != "":
		return &codedError{result.Status.Code, fmt.Errorf("%s did not start: %s", what.cmd.Argv[0], result.Status.StartError)}
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
