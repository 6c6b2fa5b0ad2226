package archive

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Unpack reads a tar stream from r into the directory dst.
func Unpack(ctx context.Context, r io.Reader, dst *os.Root, opts UnpackOptions) (backend.CopyReport, error) {
	return backend.CopyReport{}, errors.ErrUnsupported
}
