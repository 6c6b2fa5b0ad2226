package main

import (
	"strings"

	"github.com/bottle-mcp/bottle-mcp/cmd/bottle-mcp/agenthost"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

// preflight prints the plan, and what would run, and starts nothing.
func (c *cli) preflight(plan *provision.Plan, what job, asJSON bool) error {
	if asJSON {
		return printJSON(c.con, tools.PlanData(plan))
	}
	for line := range strings.Lines(tools.PlanText(plan)) {
		c.con.printf("%s\n", oneLine(strings.TrimRight(line, "\n"), 0))
	}
	for _, q := range plan.Questions {
		c.con.printf("Asks: %s\n", oneLine(questionText(q), 0))
	}
	if len(what.cmd.Argv) > 0 {
		where := ""
		if what.tty {
			where = ", on this terminal"
		}
		c.con.printf("Runs: %s%s.\n", oneLine(agenthost.Shell(what.cmd.Argv), 0), where)
	}
	return nil
}
