package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// cleanupOptions are the flags of cleanup.
type cleanupOptions struct {
	all, orphans, dryRun, yes, asJSON bool
}

// cleanedItem is the JSON form of one outcome.
type cleanedItem struct {
	ID     backend.ID `json:"id"`
	Action string     `json:"action"`
	Reason string     `json:"reason,omitempty"`
	Done   bool       `json:"done"`
}

func newCleanup(c *cli) *cobra.Command {
	var o cleanupOptions
	cmd := &cobra.Command{
		Use:   "cleanup [ID…] [--orphans | --all]",
		Short: "Remove bottles with everything they hold",
		Long: `cleanup removes bottles: processes, mounts, cgroups, state and secrets.
Name them, or choose --orphans (dead, expired and half-removed ones) or --all.`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.cleanup(cmd.Context(), o, args) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.all, "all", false, "every bottle, also running ones; asks first")
	flags.BoolVar(&o.orphans, "orphans", false, "only what nothing uses any more")
	flags.BoolVar(&o.dryRun, "dry-run", false, "say what would be removed, remove nothing")
	flags.BoolVar(&o.yes, "yes", false, "do not ask before --all")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

// request turns flags and arguments into a request, or says what is wrong.
func (o cleanupOptions) request(args []string) (provision.CleanupRequest, error) {
	chosen := 0
	for _, on := range []bool{o.all, o.orphans, len(args) > 0} {
		if on {
			chosen++
		}
	}
	if chosen != 1 {
		return provision.CleanupRequest{}, usagef("cleanup", "cleanup needs ids, or --orphans, or --all, and only one of these")
	}
	req := provision.CleanupRequest{All: o.all, Orphans: o.orphans, DryRun: o.dryRun, Principal: operator}
	for _, arg := range args {
		id := backend.ID(arg)
		if err := id.Validate(); err != nil {
			return req, &usageError{err}
		}
		req.IDs = append(req.IDs, id)
	}
	return req, nil
}

// cleanup is the verb.
func (c *cli) cleanup(ctx context.Context, o cleanupOptions, args []string) error {
	req, err := o.request(args)
	if err != nil {
		return err
	}
	if o.all && !o.dryRun && !o.yes {
		if err := c.confirm("remove every bottle, also running ones?"); err != nil {
			return err
		}
	}
	app, err := c.open(ctx, wiring{})
	if err != nil {
		return err
	}
	bar := &progress{con: c.con}
	items, err := app.bottles.Cleanup(ctx, req, bar.event)
	bar.clear()
	if printErr := c.printCleaned(o, items); printErr != nil {
		return printErr
	}
	if err != nil {
		return fmt.Errorf("cleanup failed: %w", err)
	}
	return unfinished(req, items)
}

// unfinished is an error when something that was to be removed is still there.
func unfinished(req provision.CleanupRequest, items []provision.CleanupItem) error {
	if req.DryRun {
		return nil
	}
	var failed []string
	for _, item := range items {
		if item.Action == "remove" && !item.Done {
			failed = append(failed, string(item.ID))
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return withHint(fmt.Errorf("not removed: %s", strings.Join(failed, ", ")),
		"the reasons are above; 'bottle-mcp cleanup --orphans' tries again")
}

// printCleaned prints the outcome per bottle.
func (c *cli) printCleaned(o cleanupOptions, items []provision.CleanupItem) error {
	if o.asJSON {
		cleaned := make([]cleanedItem, 0, len(items))
		for _, item := range items {
			cleaned = append(cleaned, cleanedItem{item.ID, item.Action, item.Reason, item.Done})
		}
		return printJSON(c.con, cleaned)
	}
	if len(items) == 0 {
		c.con.notef("nothing to remove")
	}
	s := c.con.outStyle()
	for _, item := range items {
		what := s.red("failed")
		switch {
		case item.Action != "remove":
			what = "kept"
		case o.dryRun:
			what = "would remove"
		case item.Done:
			what = s.green("removed")
		}
		line := fmt.Sprintf("%s %s", what, item.ID)
		if item.Reason != "" {
			line += ": " + oneLine(item.Reason, 0)
		}
		c.con.printf("%s\n", line)
	}
	return nil
}

// confirm asks a yes-or-no question; without a terminal there is nobody to ask.
func (c *cli) confirm(question string) error {
	if !c.con.inTerminal {
		return withHint(&usageError{errors.New("--all asks before it removes, and there is no terminal to ask on")},
			"add --yes, or see what it would do with --dry-run")
	}
	_, _ = fmt.Fprintf(c.con.err, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(c.con.in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	default:
		return errors.New("nothing removed")
	}
}
