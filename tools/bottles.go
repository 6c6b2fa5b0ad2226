package tools

import (
	"context"
	"io"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Bottles is what the tools need of provision; *provision.Manager is it.
// Every method checks that the principal may see the bottle: one it may not
// see is backend.ErrNotFound.
type Bottles interface {
	Plan(ctx context.Context, req provision.LaunchRequest) (*provision.Plan, error)
	Launch(ctx context.Context, plan *provision.Plan, report func(provision.Event)) (*provision.Bottle, error)
	Exec(ctx context.Context, who provision.Principal, id backend.ID, cmd backend.Command, streams backend.Streams) (provision.ExecResult, error)
	// CopyIn packs the host path (inside the operator's roots) into the guest.
	CopyIn(ctx context.Context, who provision.Principal, id backend.ID, host, guest string, opts provision.CopyOptions) (provision.CopyResult, error)
	// CopyOut unpacks the guest path below the host path (inside the roots).
	CopyOut(ctx context.Context, who provision.Principal, id backend.ID, guest, host string, opts provision.CopyOptions) (provision.CopyResult, error)
	// WriteFile puts content into one guest file; ReadFile returns at most
	// limit bytes of one guest file and its whole size.
	WriteFile(ctx context.Context, who provision.Principal, id backend.ID, guest string, content []byte, opts provision.CopyOptions) (provision.CopyResult, error)
	ReadFile(ctx context.Context, who provision.Principal, id backend.ID, guest string, limit int64) (content []byte, size int64, err error)
	List(ctx context.Context, who provision.Principal) ([]provision.Bottle, error)
	Get(ctx context.Context, who provision.Principal, id backend.ID) (*provision.Bottle, error)
	Cleanup(ctx context.Context, req provision.CleanupRequest, report func(provision.Event)) ([]provision.CleanupItem, error)
	// EgressLog returns the newest decisions, oldest first.
	EgressLog(ctx context.Context, who provision.Principal, id backend.ID, limit int) ([]sidecars.Decision, error)
	// OutputFile opens a new private file in the bottle's state for a command's
	// full output (removed with the bottle) and returns its name; OpenOutput
	// reads one back.
	OutputFile(ctx context.Context, who provision.Principal, id backend.ID) (name string, w io.WriteCloser, err error)
	OpenOutput(ctx context.Context, who provision.Principal, id backend.ID, name string) (io.ReadSeekCloser, error)
}
