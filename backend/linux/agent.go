//go:build linux

package linux

import (
	"context"
	"fmt"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
)

// StartAgent implements backend.Backend.
func (b *Backend) StartAgent(ctx context.Context, spec backend.AgentSpec) (backend.Account, error) {
	none := backend.Account{}
	if spec.Image != "" {
		return none, fmt.Errorf("backend %s runs this host's root filesystem only: take out image %.60q", Name, spec.Image)
	}
	if spec.Isolation != "" && spec.Isolation != isolationNamespace {
		return none, fmt.Errorf("backend %s has no isolation class %.60q: use %q", Name, spec.Isolation, isolationNamespace)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	limits := spec.Limits
	if limits.PIDs == 0 {
		limits.PIDs = defaultPIDs
	}
	if limits.DiskBytes == 0 {
		limits.DiskBytes = defaultDiskBytes
	}
	_, err := b.ask(ctx, spec.ID, shim.Request{Op: shim.OpAgent, Agent: &shim.Agent{
		Env: spec.Env, CACert: spec.CACert, SystemFiles: spec.SystemFiles, Limits: limits,
	}})
	if err != nil {
		return none, fmt.Errorf("start the agent of bottle %s: %w", spec.ID, explain(err))
	}
	return backend.DefaultAccount(), nil
}
