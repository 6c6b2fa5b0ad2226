package provision

import (
	"context"
	"fmt"
	"io"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
	"github.com/bottle-mcp/bottle-mcp/provision/workspace"
)

// Defaults of what a workspace may hold.
const (
	defaultMaxWorkspace = 4 << 30
	defaultMaxEntries   = 500_000
)

// survey looks at the workspace and fails the plan where it cannot be copied.
func (d *draft) survey(ctx context.Context) {
	if d.plan.Workspace == nil || d.r.parent != nil {
		return // a bottle's files are looked at by nobody but itself
	}
	h := d.r.workspace
	root, err := h.open()
	if err == nil {
		defer func() { _ = root.Close() }()
		d.r.survey, err = workspace.Look(ctx, archive.Source{Root: root, Name: h.rel}, d.m.surveyOptions(h))
	}
	why, refused := workspace.Refused(err)
	switch {
	case ctx.Err() != nil:
		return // Plan says so
	case refused:
		d.fail("workspace", "%s: %s", h, why)
	case err != nil:
		d.fail("workspace", "%s cannot be looked through: %v", h, err)
	default:
		s := d.r.survey
		d.roomFor()
		d.plan.Workspace.Survey = &WorkspaceSurvey{Files: s.Files, Bytes: s.Bytes, Skipped: s.Skipped, SkippedMore: s.SkippedMore}
	}
}

// surveyOptions are the rules for a directory of this host that goes to the workspace.
func (m *Manager) surveyOptions(h hostPath) workspace.Options {
	return workspace.Options{
		MaxBytes: m.cfg.MaxWorkspace, MaxEntries: m.cfg.MaxWorkspaceEntries, Secrets: m.cfg.CopySecrets,
		Host: h.String(), Guest: backend.GuestWorkspace,
	}
}

// place is the plan without what changes as the directory is used.
func (w *WorkspacePlan) place() *WorkspacePlan {
	if w == nil {
		return nil
	}
	return &WorkspacePlan{Host: w.Host, Guest: w.Guest}
}

// withoutSecrets holds a copy into a guest to the same rules about credentials
// as a workspace: a caller must not get by the one what it does not get by the
// other.
func (m *Manager) withoutSecrets(ctx context.Context, src archive.Source, dir bool) (archive.PackOptions, error) {
	s, err := workspace.Look(ctx, src, workspace.Options{Plain: true, Secrets: m.cfg.CopySecrets})
	if why, refused := workspace.Refused(err); refused {
		return archive.PackOptions{}, &InvalidError{Field: "host path", Problem: why}
	}
	if err != nil {
		return archive.PackOptions{}, fmt.Errorf("look at what is to be copied: %w", err)
	}
	if !dir && s.Files == 0 && len(s.Skipped) == 1 {
		return archive.PackOptions{}, &InvalidError{Field: "host path", Problem: fmt.Sprintf("%.200q is %s; only the operator can have it copied (--copy-secrets)", src.Name, s.Skipped[0].Reason)}
	}
	return s.Pack(), nil
}

// streamLimit is what the archive of a workspace within its limits has at most,
// with the headers.
func (m *Manager) streamLimit() int64 {
	const header = 2 << 10
	return m.cfg.MaxWorkspace + int64(m.cfg.MaxWorkspaceEntries)*header
}

// roomFor fails the plan when the workspace is larger than the bottle's disk.
func (d *draft) roomFor() {
	if s := d.r.survey; s != nil && d.plan.Limits.DiskBytes > 0 && s.Bytes > d.plan.Limits.DiskBytes {
		d.fail("workspace", "%s holds %d bytes, and the bottle's disk has %d; name a smaller directory, or allow a larger disk (resources.disk of the bottle)",
			d.r.workspace, s.Bytes, d.plan.Limits.DiskBytes)
	}
}

// capped ends a copy that became larger than what was planned: the directory is
// in use meanwhile.
type capped struct {
	w    io.Writer
	left int64
}

// Write implements io.Writer.
func (c *capped) Write(p []byte) (int, error) {
	if c.left -= int64(len(p)); c.left < 0 {
		return 0, fmt.Errorf("it grew beyond the limit while it was copied: %w", archive.ErrLimit)
	}
	return c.w.Write(p)
}
