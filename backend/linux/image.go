package linux

import (
	"context"
	"fmt"
	"io"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// PrepareImage implements backend.Backend: guests see this host's programs.
func (b *Backend) PrepareImage(_ context.Context, spec backend.ImageSpec, _ io.Writer) (string, error) {
	if !spec.Zero() {
		return "", fmt.Errorf("backend %s runs this host's root filesystem only: take the image or Dockerfile out of the bottle, or choose another backend", Name)
	}
	return "", nil
}
