package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

// maxPrompt bounds a prompt from standard input: what a launch takes.
const maxPrompt = 1 << 20

// behindDashes is the hint for a command that stands where an agent is expected.
const behindDashes = "a command stands behind '--': bottle-mcp run -- "

// arguments takes the command line apart: args has dash words before "--", -1
// when there is none.
func (o *runOptions) arguments(args []string, dash int) error {
	before, behind := args, []string(nil)
	if dash >= 0 {
		before, behind = args[:dash], args[dash:]
	}
	switch {
	case len(before) > 1:
		return withHint(usagef("run", "run takes one agent, but there are %q", before), behindDashes+before[0])
	case len(before) == 1 && o.agent != "":
		return usagef("run", "the agent is named twice: %q and --agent %q", before[0], o.agent)
	case len(before) == 1 && !manifest.ValidName(before[0]):
		return withHint(usagef("run", "%q is not the name of an agent", before[0]), behindDashes+before[0])
	case len(before) == 1:
		o.agent, o.attach = before[0], true
	default:
		o.attach = o.agent != "" && len(behind) == 0
	}
	o.argv = behind
	return o.consistent()
}

// consistent refuses flags that contradict each other or what is to run.
func (o *runOptions) consistent() error {
	switch {
	case o.asJSON && !o.dryRun:
		return usagef("run", "--json needs --dry-run: without it the output is the command's")
	case !o.attach && len(o.argv) == 0 && !o.dryRun:
		return usagef("run", "run needs a command after '--', or the name of an agent")
	case o.headless && !o.attach:
		return usagef("run", "--headless needs the name of an agent")
	case o.headless && o.prompt == "":
		return usagef("run", "--headless needs a task: --prompt TEXT, or --prompt - for standard input")
	case o.headless && o.tty:
		return usagef("run", "--headless and --tty exclude each other")
	case o.prompt == "-" && !o.headless:
		return usagef("run", "--prompt - needs --headless: else standard input is the agent's")
	case o.cwd && o.workspace != "":
		return usagef("run", "--cwd and --workspace exclude each other")
	}
	return nil
}

// request is what run asks of provision, and the variables of this process that
// were named without a value.
func (c *cli) request(o runOptions, argv []string) (req provision.LaunchRequest, named map[string]secret.Value, err error) {
	req = provision.LaunchRequest{
		Agent: o.agent, Bottles: o.bottles, Label: o.label, Colour: o.colour, TTL: o.ttl, Backend: o.backend,
		Principal: operator, Asks: true, Answers: map[string]secret.Value{},
	}
	if req.Env, named, err = parseEnv(o.env, os.LookupEnv); err != nil {
		return req, nil, err
	}
	if req.Only, err = o.only.rules(); err != nil {
		return req, nil, err
	}
	if o.cwd {
		o.workspace = "."
	}
	if o.workspace != "" {
		if req.Workspace, err = filepath.Abs(o.workspace); err != nil {
			return req, nil, fmt.Errorf("--workspace: %w", err)
		}
	}
	if req.Label == "" && !o.attach {
		req.Label = strings.Join(append([]string{"run"}, argv[:min(len(argv), 1)]...), " ")
	}
	req.Prompt, err = c.prompt(o)
	return req, named, err
}

// prompt is the agent's task.
func (c *cli) prompt(o runOptions) (string, error) {
	if o.prompt != "-" {
		return o.prompt, nil
	}
	if o.dryRun {
		return "-", nil // nobody has to write it yet
	}
	text, err := io.ReadAll(io.LimitReader(c.con.in, maxPrompt+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read the prompt from standard input: %w", err)
	case len(text) > maxPrompt:
		return "", usagef("run", "the prompt is longer than %d bytes; put it into a file of the workspace and name that", maxPrompt)
	case strings.TrimSpace(string(text)) == "":
		return "", usagef("run", "standard input holds no prompt")
	}
	return string(text), nil
}

// planned resolves the request. What --env NAME takes from here is an answer where
// a manifest asks for it, and an ordinary variable elsewhere.
func (c *cli) planned(ctx context.Context, bottles tools.Bottles, req *provision.LaunchRequest, named map[string]secret.Value) (*provision.Plan, error) {
	plan, err := bottles.Plan(ctx, *req)
	if err != nil || len(named) == 0 {
		return plan, notAnAgent(err, req.Agent)
	}
	for name, value := range named {
		if slices.ContainsFunc(plan.Questions, func(q provision.Question) bool { return q.Name == name }) {
			req.Answers[name] = value
		} else {
			req.Env[name] = value.Reveal() //nolint:forbidigo // no manifest calls it a secret, and the guest is to have it
		}
	}
	return bottles.Plan(ctx, *req)
}

// notAnAgent adds what was perhaps meant by a name that no agent has.
func notAnAgent(err error, name string) error {
	if errors.Is(err, manifest.ErrNoAgent) {
		return withHint(err, behindDashes+name)
	}
	return err
}

// job is what runs in the bottle.
type job struct {
	cmd   backend.Command
	stdin io.Reader
	tty   bool
}

// start is what a command line wants to be started.
type start struct {
	runOptions

	argv  []string // what stands behind "--"
	task  string
	stdin io.Reader // of this program
}

// job is what a plan leads to; without a command, in a dry run, it is empty.
func (s *start) job(plan *provision.Plan) (job, error) {
	what, err := s.command(plan.Provider)
	if err != nil {
		return job{}, withHint(&codedError{exitNoBottle, err}, "or give a command: bottle-mcp run --agent "+s.agent+" -- COMMAND")
	}
	return what, nil
}

// inBottle is the job of a bottle that is there: who works in it may have been
// found out in its image only.
func (s *start) inBottle(what job, bottle *provision.Bottle) (job, error) {
	if !s.attach {
		return what, nil
	}
	now, err := s.command(bottle.Provider)
	if err != nil {
		return job{}, &codedError{exitNoBottle, err}
	}
	now.tty = what.tty
	if bottle.Workspace == "" {
		now.cmd.Dir = bottle.Account.Home // the directory that the agent trusts
	}
	return now, nil
}

// command says what is executed, by the provider where the agent's own program
// runs.
func (s *start) command(p *provision.ProviderPlan) (job, error) {
	cmd := backend.Command{Argv: s.argv, User: s.user, Grace: killGrace}
	if !s.attach {
		return job{cmd: cmd, stdin: s.stdin}, nil
	}
	if p == nil {
		return job{}, fmt.Errorf("the agent %s has no program: its bottle names no provider; write agent_provider.template into it", s.agent)
	}
	own := p.Interactive
	if s.headless {
		own = p.Headless
	}
	if len(own.Argv) > 0 {
		own.Argv = slices.Concat(own.Argv, s.argv)
	}
	invocation, err := own.With(s.task)
	if err != nil {
		return job{}, fmt.Errorf("the agent %s cannot be started by the provider %s: %w", s.agent, p.Provider, err)
	}
	cmd.Argv = invocation.Argv
	switch {
	case invocation.Stdin != "":
		return job{cmd: cmd, stdin: strings.NewReader(invocation.Stdin)}, nil
	case s.headless:
		return job{cmd: cmd}, nil
	}
	return job{cmd: cmd, stdin: s.stdin}, nil
}

// parseEnv splits NAME=VALUE arguments, and finds those that are a name alone.
func parseEnv(pairs []string, lookup func(string) (string, bool)) (env map[string]string, named map[string]secret.Value, err error) {
	env, named = map[string]string{}, map[string]secret.Value{}
	for _, pair := range pairs {
		name, value, given := strings.Cut(pair, "=")
		switch {
		case !manifest.ValidEnvName(name):
			return nil, nil, usagef("run", "--env %q is neither NAME=VALUE nor NAME", pair)
		case given:
			env[name] = value
			continue
		}
		here, ok := lookup(name)
		if !ok {
			return nil, nil, usagef("run", "--env %s takes the variable from here, where it is not set", name)
		}
		named[name] = secret.New(here)
	}
	return env, named, nil
}
