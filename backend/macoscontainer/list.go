package macoscontainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// objects is what the engine has of a bottle.
type objects struct {
	identity
	containers map[role]cli.Container
	networks   map[role]cli.Network
}

// List implements backend.Backend: what the engine has with our labels, joined
// with our records. Sidecars are folded into their bottles; what is not ours is
// not seen.
func (b *Backend) List(ctx context.Context) ([]backend.Instance, error) {
	records, err := b.records()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list bottles: %w", context.Cause(ctx))
	}
	all, err := b.survey(ctx)
	if err != nil {
		// A Mac whose engine is gone may still be asked for its bottles, as long
		// as it has none.
		if len(records) == 0 && unusable(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("list bottles: %w", err)
	}
	for id, r := range records {
		if _, ok := all[id]; !ok {
			all[id] = objects{identity: r.identity()}
		}
	}
	var out []backend.Instance
	now := time.Now()
	for id, o := range all {
		r, known := records[id]
		out = append(out, o.instance(r, known, now))
	}
	slices.SortFunc(out, func(x, y backend.Instance) int { return x.Created.Compare(y.Created) })
	return out, nil
}

// unusable reports whether the program is not there or its service does not
// run.
func unusable(err error) bool {
	var failed *cli.Error
	return errors.As(err, &failed) && (failed.Kind == cli.KindMissing || failed.Kind == cli.KindUnavailable)
}

// surveyContainers asks the engine for this owner's containers.
func (b *Backend) surveyContainers(ctx context.Context) (map[backend.ID]objects, error) {
	out := map[backend.ID]objects{}
	containers, err := b.cli.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range containers {
		if i, r, ok := owned(b.cfg.Owner, c.ID, c.Labels); ok && (r == roleAgent || r == roleSidecar) {
			o := entry(out, i)
			o.containers[r] = c
		}
	}
	return out, nil
}

// survey asks the engine for everything of this owner.
func (b *Backend) survey(ctx context.Context) (map[backend.ID]objects, error) {
	out, err := b.surveyContainers(ctx)
	if err != nil {
		return nil, err
	}
	networks, err := b.cli.NetworkList(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range networks {
		if i, r, ok := owned(b.cfg.Owner, n.Name, n.Labels); ok && (r == roleInternal || r == roleEgress) {
			o := entry(out, i)
			o.networks[r] = n
		}
	}
	return out, nil
}

func entry(all map[backend.ID]objects, i identity) objects {
	o, ok := all[i.id]
	if !ok {
		o = objects{identity: i, containers: map[role]cli.Container{}, networks: map[role]cli.Network{}}
		all[i.id] = o
	}
	return o
}

// instance judges a bottle by what exists and what was proven of it.
func (o objects) instance(r record, known bool, now time.Time) backend.Instance {
	i := backend.Instance{
		ID: o.id, Owner: o.owner, Created: o.created, Expires: o.expires,
		Services: map[sidecars.Service]bool{},
		// Asking the engine for usage takes two seconds.
		Usage: backend.Usage{MemoryBytes: -1, DiskBytes: -1, PIDs: -1, CPUSeconds: -1},
	}
	serving := known && o.sidecarUnchanged(r)
	for _, svc := range r.Services {
		i.Services[svc] = serving
	}
	agent, hasAgent := o.containers[roleAgent]
	switch {
	case !o.expires.IsZero() && !now.Before(o.expires):
		i.State = backend.Expired
	case hasAgent && agent.State == "running" && known && same(agent.Started, r.AgentStarted) && serving:
		i.State = backend.Running
	case hasAgent && agent.State == "running" && r.AgentStarted.IsZero():
		i.State = backend.Starting
	case hasAgent && agent.State == "running":
		i.State = backend.Degraded
	case !hasAgent && serving && r.AgentStarted.IsZero():
		i.State = backend.Starting
	default:
		i.State = backend.Dead
	}
	return i
}

// sidecarUnchanged reports whether the sidecar is the one that was found ready,
// at the address that the agent knows.
func (o objects) sidecarUnchanged(r record) bool {
	c, ok := o.containers[roleSidecar]
	if !ok || c.State != "running" || !same(c.Started, r.SidecarStarted) {
		return false
	}
	if r.Topology == socket {
		// The engine's relay takes the socket with it when it gives up.
		for _, svc := range r.Services {
			if _, err := os.Lstat(r.socketOf(svc)); err != nil {
				return false
			}
		}
		return true
	}
	return internalAddress(c, r.ID) == r.SidecarAddress
}

// same compares the engine's times, which have no fractions.
func same(x, y time.Time) bool { return !x.IsZero() && x.Unix() == y.Unix() }
