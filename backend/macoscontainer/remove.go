package macoscontainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
)

// Remove implements backend.Backend: the agent, the sidecar, the networks, then
// the files, so that whatever breaks off in between is found again. It deletes
// only what carries our labels and our names.
func (b *Backend) Remove(ctx context.Context, id backend.ID) error {
	if err := id.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, b.scaled(stopTimeout))
	defer cancel()
	b.seen.forget(id)
	all, err := b.survey(ctx)
	if err != nil {
		if unusable(err) && !b.hasFiles(id) {
			return nil
		}
		return fmt.Errorf("remove bottle %s: %w", id, err)
	}
	if err := b.removeObjects(ctx, all[id]); err != nil {
		return fmt.Errorf("remove bottle %s: %w", id, err)
	}
	if _, err := b.readRecord(id); errors.Is(err, backend.ErrNotFound) && b.hasFiles(id) {
		return nil // another owner's
	}
	return b.sweep(id)
}

// removeObjects deletes in order. One failure does not keep the next containers
// from being ended: a running guest is worse than a left-over network.
func (b *Backend) removeObjects(ctx context.Context, o objects) error {
	var errs []error
	for _, r := range []role{roleAgent, roleSidecar} {
		if c, ok := o.containers[r]; ok {
			errs = append(errs, gone(b.cli.Delete(ctx, c.ID, true)))
		}
	}
	for _, r := range []role{roleInternal, roleEgress} {
		if n, ok := o.networks[r]; ok {
			errs = append(errs, gone(b.cli.NetworkDelete(ctx, n.Name)))
		}
	}
	return errors.Join(errs...)
}

// gone takes "there is no such object" for success.
func gone(err error) error {
	var failed *cli.Error
	if errors.As(err, &failed) && failed.Kind == cli.KindNotFound {
		return nil
	}
	return err
}

// hasFiles reports whether a record lies there, whoever's.
func (b *Backend) hasFiles(id backend.ID) bool {
	_, err := os.Lstat(filepath.Join(b.dir(id), recordFile))
	return err == nil
}
