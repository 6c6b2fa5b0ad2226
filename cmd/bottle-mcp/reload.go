package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// reloader changes policies. It is no part of what tools get: no model asks for it.
type reloader interface {
	Reload(ctx context.Context, req provision.ReloadRequest) (*provision.Reloaded, error)
}

func newReload(c *cli) *cobra.Command {
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "reload ID",
		Short: "Put what the manifests say now about egress in force in a running bottle",
		Long: `reload reads the bottle's manifests again and puts their egress policy in force,
at once and as a whole, narrowed as the launch was. Requests that the new policy
does not allow in the same way are cut. Credentials are read again where their
variable is set here; the proxy keeps all others. Everything else that manifests
say takes another launch. What cannot be read, or is refused, changes nothing.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(verbOf(cmd), "reload takes one id, as 'bottle-mcp list' shows it")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.reload(cmd.Context(), provision.ReloadRequest{ID: backend.ID(args[0]), DryRun: dryRun, Principal: operator}, asJSON)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change, change nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// reload is the verb.
func (c *cli) reload(ctx context.Context, req provision.ReloadRequest, asJSON bool) error {
	app, err := c.open(ctx, wiring{merge: true})
	if err != nil {
		return err
	}
	defer app.end()
	r, ok := app.bottles.(reloader)
	if !ok {
		return errors.New("this program cannot change policies; launch the bottle anew")
	}
	done, err := r.Reload(ctx, req)
	if err != nil {
		return fmt.Errorf("the policy of bottle %s is as it was: %w", req.ID, err)
	}
	if asJSON {
		return printJSON(c.con, done)
	}
	c.printReloaded(done)
	return nil
}

// printReloaded prints what changed, a line for each host.
func (c *cli) printReloaded(r *provision.Reloaded) {
	s := c.con.outStyle()
	line := func(mark, host, text string) {
		c.con.printf("%s %s\n", mark, oneLine(strings.TrimSpace(host+"  "+text), 0))
	}
	for _, a := range r.Added {
		line(s.green("+"), a.Host, allowanceText(a))
	}
	for _, gone := range r.Removed {
		line(s.red("-"), gone.Host, allowanceText(gone))
	}
	for _, ch := range r.Changed {
		line(s.yellow("~"), ch.After.Host, allowanceText(ch.Before)+"  →  "+allowanceText(ch.After))
	}
	if len(r.Added)+len(r.Removed)+len(r.Changed) == 0 {
		c.con.printf("no route changes\n")
	}
	for _, host := range r.Dropped {
		c.con.notef("the launch had kept %s, which the manifests do not allow in that way any more", oneLine(host, 0))
	}
	if len(r.Credentials) > 0 {
		c.con.notef("credentials read again: %s", oneLine(strings.Join(r.Credentials, ", "), 0))
	}
	if r.Applied {
		c.con.notef("in force in bottle %s: %s", r.ID, oneLine(r.Policy, 0))
	}
}

// allowanceText is a route in few words.
func allowanceText(r provision.RouteSummary) string {
	text := r.Allows
	if text == "" {
		text = "everything"
	}
	for _, more := range []string{r.Auth, r.Rules} {
		if more != "" {
			text += "; " + more
		}
	}
	return text
}
