package macoscontainer

import (
	"context"
	"io"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// PrepareImage implements backend.Backend.
func (b *Backend) PrepareImage(ctx context.Context, spec backend.ImageSpec, progress io.Writer) (string, error) {
	if progress == nil {
		progress = io.Discard
	}
	return b.images.Prepare(ctx, spec, progress)
}
