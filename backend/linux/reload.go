//go:build linux

package linux

import (
	"context"
	"fmt"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// reloadTimeout is longer than the shim's own patience with the sidecar.
const reloadTimeout = 30 * time.Second

// Reload implements backend.Backend: through the shim's socket to the sidecar's
// own, which has no name.
func (b *Backend) Reload(ctx context.Context, id backend.ID, cfg sidecars.Config, secrets sidecars.Secrets) error {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	secrets.CAKey = secret.Value{} // the sidecar has it
	raw := jail.EncodeSecrets(secrets)
	defer clear(raw)
	_, err := b.askWith(ctx, id, shim.Request{Op: shim.OpReload, Reload: &jail.Reload{Config: cfg}}, raw)
	if err != nil {
		return fmt.Errorf("change the policy of bottle %s: %w", id, err)
	}
	return nil
}
