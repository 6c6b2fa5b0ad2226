//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// listParallel bounds how many shims are asked at once.
const listParallel = 16

// List implements backend.Backend.
func (b *Backend) List(ctx context.Context) ([]backend.Instance, error) {
	entries, err := os.ReadDir(b.cfg.BottlesDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list bottles: %w", err)
	}
	var (
		mu   sync.Mutex
		out  []backend.Instance
		wg   sync.WaitGroup
		slot = make(chan struct{}, listParallel)
	)
	for _, e := range entries {
		id := backend.ID(e.Name())
		if !e.IsDir() || id.Validate() != nil {
			continue
		}
		slot <- struct{}{}
		wg.Go(func() {
			defer func() { <-slot }()
			if inst, ok := b.inspect(ctx, id); ok {
				mu.Lock()
				out = append(out, inst)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list bottles: %w", context.Cause(ctx))
	}
	slices.SortFunc(out, func(x, y backend.Instance) int { return x.Created.Compare(y.Created) })
	return out, nil
}

// inspect tells the truth about one bottle: what its shim says, or what its
// record says when the shim is gone.
func (b *Backend) inspect(ctx context.Context, id backend.ID) (backend.Instance, bool) {
	st, err := b.readState(id)
	if errors.Is(err, backend.ErrNotFound) {
		return backend.Instance{}, false
	}
	inst := backend.Instance{
		ID: id, Owner: b.cfg.Owner, State: backend.Dead, Services: map[sidecars.Service]bool{},
		Usage: backend.Usage{MemoryBytes: -1, DiskBytes: -1, PIDs: -1, CPUSeconds: -1},
	}
	if err != nil {
		return inst, b.startingUp(id, &inst)
	}
	inst.Created, inst.Expires = st.Created, st.Expires
	for _, svc := range st.Services {
		inst.Services[svc] = false
	}
	if st.Expired || time.Now().After(st.Expires) {
		inst.State = backend.Expired
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := b.ask(ctx, id, shim.Request{Op: shim.OpState})
	if err != nil || r.State == nil {
		return inst, true
	}
	live := r.State
	for _, svc := range st.Services {
		inst.Services[svc] = live.SidecarUp
	}
	inst.Usage = live.Usage
	switch {
	case !live.AgentUp:
		inst.State = backend.Starting
	case !live.SidecarUp:
		inst.State = backend.Degraded
	default:
		inst.State = backend.Running
	}
	return inst, true
}

// startingUp tells a reserved record that is still empty from a damaged one,
// which is shown as dead only when this owner's directory is sure.
func (b *Backend) startingUp(id backend.ID, inst *backend.Instance) bool {
	info, err := os.Stat(b.dir(id) + "/" + shim.StateFile)
	if err == nil && info.Size() == 0 {
		inst.Created = info.ModTime()
		if time.Since(info.ModTime()) < startTimeout {
			inst.State = backend.Starting
		}
		return true
	}
	return err == nil
}
