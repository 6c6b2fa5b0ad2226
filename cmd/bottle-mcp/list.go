package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// listedBottle is the JSON form of one bottle, stable for scripts.
type listedBottle struct {
	ID        backend.ID                `json:"id"`
	Parent    backend.ID                `json:"parent,omitempty"` // the bottle that launched it
	State     backend.State             `json:"state"`
	Label     string                    `json:"label,omitempty"`
	Agent     string                    `json:"agent,omitempty"`
	Bottles   []string                  `json:"bottles"`
	Backend   string                    `json:"backend"`
	Services  map[sidecars.Service]bool `json:"services"`
	Created   time.Time                 `json:"created"`
	Expires   time.Time                 `json:"expires"`
	Policy    string                    `json:"policy"`
	Workspace string                    `json:"workspace,omitempty"`
	Refusals  int                       `json:"refusals"`
	Usage     backend.Usage             `json:"usage"`
}

func newList(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List bottles, also dead ones that left something behind",
		Args:    noArguments,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.list(cmd.Context(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// list prints the bottles, oldest first.
func (c *cli) list(ctx context.Context, asJSON bool) error {
	app, err := c.open(ctx, wiring{})
	if err != nil {
		return err
	}
	bottles, err := app.bottles.List(ctx, operator)
	if err != nil {
		return fmt.Errorf("bottles cannot be listed: %w", err)
	}
	slices.SortFunc(bottles, func(a, b provision.Bottle) int { return a.Created.Compare(b.Created) })
	if asJSON {
		listed := make([]listedBottle, 0, len(bottles))
		for _, b := range bottles {
			listed = append(listed, listedBottle{
				ID: b.ID, Parent: b.Parent, State: b.State, Label: b.Label, Agent: b.Agent, Bottles: b.Bottles,
				Backend: b.Backend, Services: b.Services, Created: b.Created, Expires: b.Expires,
				Policy: b.Policy, Workspace: b.Workspace, Refusals: b.Refusals, Usage: b.Usage,
			})
		}
		return printJSON(c.con, listed)
	}
	if len(bottles) == 0 {
		c.con.notef("no bottles")
		return nil
	}
	return c.printBottles(bottles, time.Now())
}

// printBottles prints a table. Columns are padded before they are coloured,
// so that colour codes do not count as width.
func (c *cli) printBottles(bottles []provision.Bottle, now time.Time) error {
	table := tabwriter.NewWriter(c.con.out, 0, 0, 2, ' ', 0)
	// Few have bottles that launch bottles.
	parents := slices.ContainsFunc(bottles, func(b provision.Bottle) bool { return b.Parent != "" })
	parent := func(text string) string {
		if !parents {
			return ""
		}
		return "\t" + orDash(text)
	}
	_, _ = fmt.Fprintf(table, "ID%s\tSTATE\tBOTTLE\tAGE\tLEFT\tMEMORY\tREFUSED\tLABEL\n", parent("PARENT"))
	for _, b := range bottles {
		_, _ = fmt.Fprintf(table, "%s%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n",
			b.ID, parent(string(b.Parent)), b.State, orDash(strings.Join(b.Bottles, "+")), span(now.Sub(b.Created)),
			left(b.Expires, now), bytesText(b.Usage.MemoryBytes), b.Refusals,
			orDash(oneLine(b.Label, 24)))
	}
	return table.Flush()
}

// left says how long a bottle has still to live.
func left(expires, now time.Time) string {
	switch {
	case expires.IsZero():
		return "-"
	case expires.Before(now):
		return "over"
	default:
		return span(expires.Sub(now))
	}
}

// bytesText prints a size in the unit that fits; a negative one is not known.
func bytesText(n int64) string {
	switch {
	case n < 0:
		return "?"
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// refusalText is one egress refusal in words.
func refusalText(d sidecars.Decision) string {
	target := d.Host
	if d.Port != 0 {
		target = fmt.Sprintf("%s:%d", d.Host, d.Port)
	}
	if target == "" {
		target = "a request"
	}
	text := fmt.Sprintf("egress refused %s: %s", strings.TrimSpace(d.Method+" "+target), d.Reason)
	if d.Message != "" {
		text += ": " + d.Message
	}
	return text
}
