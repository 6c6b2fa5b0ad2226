//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/cgroup"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
)

// Remove implements backend.Backend.
func (b *Backend) Remove(ctx context.Context, id backend.ID) error {
	if err := id.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	st, err := b.readState(id)
	if errors.Is(err, backend.ErrNotFound) {
		return nil
	}
	if err != nil {
		// Without a readable record nothing can be proven ours but the files
		// of a start that never got anywhere.
		if info, serr := os.Stat(filepath.Join(b.dir(id), shim.StateFile)); serr == nil && info.Size() == 0 {
			return b.sweep(b.dir(id))
		}
		return fmt.Errorf("remove bottle %s: %w", id, err)
	}
	_, err = b.ask(ctx, id, shim.Request{Op: shim.OpStop})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("remove bottle %s: %w", id, err)
	}
	if err := b.end(ctx, st); err != nil {
		return fmt.Errorf("remove bottle %s: %w", id, err)
	}
	if err := b.sweep(b.dir(id)); err != nil {
		return fmt.Errorf("remove the files of bottle %s: %w", id, err)
	}
	return nil
}

// end makes sure that nothing of the bottle runs, by the record alone.
func (b *Backend) end(ctx context.Context, st shim.State) error {
	if st.Boot == shim.BootID() {
		procs := []shim.Process{st.Shim, st.Guest, st.Sidecar}
		for _, p := range procs {
			p.Kill()
		}
		if err := waitGone(ctx, procs); err != nil {
			return err
		}
	}
	return cgroup.Find(cgroup.Root, cgroup.Name(st.Owner, st.ID)).Remove(ctx)
}

func waitGone(ctx context.Context, procs []shim.Process) error {
	for _, p := range procs {
		for p.Alive() {
			select {
			case <-ctx.Done():
				return fmt.Errorf("process %d of the bottle does not end: %w", p.PID, context.Cause(ctx))
			case <-time.After(time.Millisecond):
			}
		}
	}
	return nil
}
