package main

import (
	"context"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

// arguments refuses a command line without a command, unless it only asks
// what would be.
func (o *runOptions) arguments(args []string) error {
	switch {
	case o.asJSON && !o.dryRun:
		return usagef("run", "--json needs --dry-run: without it the output is the command's")
	case len(args) == 0 && !o.dryRun:
		return usagef("run", "run needs a command after '--'")
	}
	return nil
}

// request is what run asks of provision.
func (o *runOptions) request(argv []string, env map[string]string) provision.LaunchRequest {
	label := "run"
	if len(argv) > 0 {
		label += " " + argv[0]
	}
	return provision.LaunchRequest{
		Bottles:   o.bottles,
		Label:     label,
		Workspace: o.workspace,
		Env:       env,
		TTL:       o.ttl,
		Backend:   o.backend,
		Principal: operator,
	}
}

// preflight prints the plan and starts nothing. What is wrong with it is the
// error that a launch would give, with the same code.
func (c *cli) preflight(ctx context.Context, bottles tools.Bottles, req provision.LaunchRequest, asJSON bool) error {
	plan, err := bottles.Plan(ctx, req)
	if err != nil {
		return &codedError{exitNoBottle, err}
	}
	if asJSON {
		return printJSON(c.con, tools.PlanData(plan))
	}
	for line := range strings.Lines(tools.PlanText(plan)) {
		c.con.printf("%s\n", oneLine(strings.TrimRight(line, "\n"), 0))
	}
	return nil
}
