package archive

import (
	"context"
	"errors"
	"io"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Pack writes src as a tar stream to w.
func Pack(ctx context.Context, w io.Writer, src Source, opts PackOptions) (backend.CopyReport, error) {
	return backend.CopyReport{}, errors.ErrUnsupported
}
