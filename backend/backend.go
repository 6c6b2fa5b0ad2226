package backend

import (
	"context"
	"io"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Backend runs bottles on one engine. Implementations are safe for concurrent
// use and know nothing of manifests; callers know nothing of engines.
//
// Every method honours ctx and returns ctx's error (wrapped) when it ends
// early. An ID nobody started gives an error wrapping ErrNotFound, except
// where a method says otherwise.
type Backend interface {
	// Name is the stable name users type, such as "linux".
	Name() string

	// Check reports what this backend can do on this host. When it cannot run
	// bottles at all the error is an *UnavailableError with the reason and
	// the fix. Check starts nothing that stays.
	Check(ctx context.Context) (Capabilities, error)

	// PrepareImage makes the root filesystem that spec asks for available and
	// returns how AgentSpec.Image names it. What a build says goes to progress
	// line by line as it happens. A backend without Capabilities.Images takes
	// the zero spec only. It may take minutes; ctx bounds it.
	PrepareImage(ctx context.Context, spec ImageSpec, progress io.Writer) (string, error)

	// StartSidecar starts the services of spec outside the guest and returns
	// where the agent will reach them: discovered, never assumed. An ID that
	// already runs gives ErrExists. On any error nothing is left behind.
	StartSidecar(ctx context.Context, spec SidecarSpec) (Endpoints, error)

	// Reload puts another egress policy in force in the sidecar of a bottle, at
	// once and as a whole: that of cfg, for the same bottle and the same CA
	// (CACert may be left out). Of secrets only tokens count; those that are not
	// given stay. When it returns nil, nothing goes on that only the earlier
	// policy allowed, while everything that both allow in the same way does. A
	// policy that the sidecar refuses changes nothing, and the error says why.
	Reload(ctx context.Context, id ID, cfg sidecars.Config, secrets sidecars.Secrets) error

	// StartAgent starts the guest of a bottle whose sidecar runs and keeps it
	// alive for Exec. It returns when Exec works, with who works there:
	// discovered in the guest, never assumed. On error the caller removes the
	// bottle.
	StartAgent(ctx context.Context, spec AgentSpec) (Account, error)

	// Exec runs one command in the guest and returns when it has ended. The
	// error is nil whenever the command ran to an end, whatever its status; a
	// non-nil error means that the engine failed or ctx ended. When ctx ends
	// the command's whole process tree is killed within a second.
	Exec(ctx context.Context, id ID, cmd Command, streams Streams) (ExitStatus, error)

	// Copy moves a tar stream into or out of the guest. The guest side of the
	// work runs inside the guest as spec.User, so it can touch nothing that
	// user could not. What was left out is in the report, not an error.
	Copy(ctx context.Context, id ID, spec CopySpec) (CopyReport, error)

	// List returns every bottle of this owner the engine knows, also half
	// started and half removed ones, from the engine's own metadata.
	List(ctx context.Context) ([]Instance, error)

	// Remove ends the bottle and removes agent, sidecar, networks and engine
	// state. It is idempotent: an unknown ID is success. It touches only what
	// is provably ours.
	Remove(ctx context.Context, id ID) error
}
