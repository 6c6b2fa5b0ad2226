package macoscontainer

import (
	"context"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

// Copy implements backend.Backend: this program packs or unpacks inside the
// guest, as the target user. The engine's own copy gives files to root, cuts
// modes down, and writes beneath the guest's mounts.
func (b *Backend) Copy(ctx context.Context, id backend.ID, spec backend.CopySpec) (backend.CopyReport, error) {
	run := func(ctx context.Context, cmd backend.Command, streams backend.Streams) (backend.ExitStatus, error) {
		return b.Exec(ctx, id, cmd, streams)
	}
	return archive.CopyVia(ctx, run, spec)
}
