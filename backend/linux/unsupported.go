//go:build !linux

package linux

import (
	"context"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

type checkCache struct{}

type spares struct{}

// Close has nothing to close.
func (b *Backend) Close() error { return nil }

func unavailable() error {
	return &backend.UnavailableError{Backend: Name, Reason: "this host does not run Linux", Fix: "run bottle-mcp on a Linux host or in a Linux virtual machine"}
}

// Check implements backend.Backend: never available here.
func (b *Backend) Check(context.Context) (backend.Capabilities, error) {
	return backend.Capabilities{}, unavailable()
}

// StartSidecar implements backend.Backend.
func (b *Backend) StartSidecar(context.Context, backend.SidecarSpec) (backend.Endpoints, error) {
	return backend.Endpoints{}, unavailable()
}

// Reload implements backend.Backend.
func (b *Backend) Reload(context.Context, backend.ID, sidecars.Config, sidecars.Secrets) error {
	return unavailable()
}

// StartAgent implements backend.Backend.
func (b *Backend) StartAgent(context.Context, backend.AgentSpec) (backend.Account, error) {
	return backend.Account{}, unavailable()
}

// Exec implements backend.Backend.
func (b *Backend) Exec(context.Context, backend.ID, backend.Command, backend.Streams) (backend.ExitStatus, error) {
	return backend.ExitStatus{}, unavailable()
}

// Copy implements backend.Backend.
func (b *Backend) Copy(context.Context, backend.ID, backend.CopySpec) (backend.CopyReport, error) {
	return backend.CopyReport{}, unavailable()
}

// List implements backend.Backend: there is nothing.
func (b *Backend) List(context.Context) ([]backend.Instance, error) { return nil, nil }

// Remove implements backend.Backend.
func (b *Backend) Remove(context.Context, backend.ID) error { return nil }
