package tools

import (
	"context"

	"github.com/bottle-mcp/bottle-mcp/provision"
)

const cleanupDescription = `Remove bottles with everything in them: machine, network, files, jobs, and the bottles they launched. Copy out what you need first. Give exactly one of "ids", "all" (every bottle you may use) and "orphans" (only dead, expired and half-removed ones). "dry_run" shows what would be removed. Repeating a call is safe.`

type cleanupInput struct {
	IDs     []string `json:"ids,omitempty" jsonschema:"minItems=1,maxItems=256,uniqueItems=true,minLength=1,maxLength=40,pattern=^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" jsonschema_description:"Bottles to remove"`
	All     bool     `json:"all,omitempty" jsonschema:"default=false" jsonschema_description:"Remove every bottle you may use"`
	Orphans bool     `json:"orphans,omitempty" jsonschema:"default=false" jsonschema_description:"Remove what dead, expired and half-removed bottles left"`
	DryRun  bool     `json:"dry_run,omitempty" jsonschema:"default=false" jsonschema_description:"Only say what would be removed"`
}

type cleanupOutput struct {
	DryRun bool            `json:"dry_run" jsonschema_description:"True when nothing was removed"`
	Items  []cleanupResult `json:"items" jsonschema_description:"One for each bottle"`
	Error  string          `json:"error,omitempty" jsonschema_description:"Why the work ended early, if it did"`
}

type cleanupResult struct {
	ID     string `json:"id" jsonschema_description:"Bottle id"`
	Action string `json:"action" jsonschema_description:"remove or keep"`
	Reason string `json:"reason,omitempty" jsonschema_description:"Why it is kept, or why it could not be removed"`
	Done   bool   `json:"done" jsonschema_description:"True when it is gone"`
}

func (t *toolset) cleanupTool() (Tool, error) {
	return define[cleanupInput, cleanupOutput](t, definition{
		name: "cleanup", title: "Remove bottles", description: cleanupDescription,
		destructive: true, idempotent: true,
	}, t.cleanup)
}

func (t *toolset) cleanup(ctx context.Context, req *request, in cleanupInput) (*reply, error) {
	ask, err := in.request(req.Principal)
	if err != nil {
		return nil, err
	}
	items, err := t.bottles.Cleanup(ctx, ask, req.progress.step)
	if err != nil && len(items) == 0 {
		return nil, err
	}
	out := cleanupOutput{DryRun: in.DryRun, Items: []cleanupResult{}}
	if err != nil {
		out.Error = cleanError(err)
	}
	for _, item := range items {
		// Only what was removed: of a bottle that the caller may not see provision
		// says that there is none, and its jobs go on.
		if item.Done && item.Action == actionRemove {
			t.jobs.forget(item.ID)
		}
		out.Items = append(out.Items, cleanupResult{
			ID: string(item.ID), Action: item.Action, Reason: cleanLine(item.Reason, 500), Done: item.Done,
		})
	}
	return &reply{structured: out, text: out.render(), failed: out.failed()}, nil
}

func (in cleanupInput) request(who provision.Principal) (provision.CleanupRequest, error) {
	c := &checks{}
	given := 0
	for _, is := range []bool{len(in.IDs) > 0, in.All, in.Orphans} {
		if is {
			given++
		}
	}
	if given != 1 {
		c.fail("", `give exactly one of "ids", "all" and "orphans"`)
	}
	req := provision.CleanupRequest{All: in.All, Orphans: in.Orphans, DryRun: in.DryRun, Principal: who}
	for _, id := range in.IDs {
		req.IDs = append(req.IDs, c.id("ids", id))
	}
	return req, c.err()
}

// removals counts what was to be removed and what is gone.
func (out *cleanupOutput) removals() (wanted, done int) {
	for _, item := range out.Items {
		if item.Action == actionRemove {
			wanted++
			if item.Done {
				done++
			}
		}
	}
	return wanted, done
}

// actionRemove is provision's word for a bottle that goes.
const actionRemove = "remove"

// failed is true when nothing that should be gone is gone: partial failure is
// a result to read, total failure an error.
func (out *cleanupOutput) failed() bool {
	wanted, done := out.removals()
	return !out.DryRun && wanted > 0 && done == 0
}

func (out *cleanupOutput) render() string {
	var t text
	wanted, done := out.removals()
	switch {
	case len(out.Items) == 0:
		t.line("Nothing to remove.")
	case out.DryRun:
		t.line("Would remove %d of %s; nothing was removed.", wanted, plural(len(out.Items), "bottle"))
	default:
		t.line("Removed %d of %s.", done, plural(wanted, "bottle"))
	}
	for i, item := range out.Items {
		if i == maxListed {
			t.line("… and %d more.", len(out.Items)-maxListed)
			break
		}
		t.line("- %s", item.summary(out.DryRun))
	}
	if out.Error != "" {
		t.line("It ended early: %s", out.Error)
	}
	if !out.DryRun && done < wanted {
		t.line("Next: call cleanup again for the rest; if it fails again, tell the user.")
	}
	return t.String()
}

func (item *cleanupResult) summary(dryRun bool) string {
	var what string
	switch {
	case item.Action != actionRemove && item.Done:
		what = "is gone already"
	case item.Action != actionRemove:
		what = "is kept"
	case item.Done:
		what = "removed"
	case dryRun:
		what = "would be removed"
	default:
		what = "NOT removed"
	}
	if item.Reason != "" {
		what += ": " + item.Reason
	}
	return item.ID + " " + what
}
