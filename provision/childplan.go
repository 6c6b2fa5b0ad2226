package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// parentBottle is the bottle that asks for a child.
type parentBottle struct {
	record state.Record
	bottle *manifest.Bottle // what it passes on
	engine backend.Backend
	left   time.Duration // of its life, when it asked
}

// parentOf finds the bottle that calls, and what it may pass on.
func (m *Manager) parentOf(who Principal) (*parentBottle, error) {
	r, err := m.caller(who)
	if err != nil {
		return nil, &InvalidError{Field: "principal", Problem: "only the operator's side and bottles that run may launch bottles: " + err.Error(), cause: err}
	}
	b, err := inherited(r, m.cfg.Now())
	if err != nil {
		return nil, err
	}
	engine, err := m.engine(r.Backend)
	if err != nil {
		return nil, err
	}
	return &parentBottle{record: r, bottle: b, engine: engine, left: b.TTL}, nil
}

// parentRef names the parent; nil = the operator's side launches.
func (r *resolvedPlan) parentRef() *parentRef {
	if r.parent == nil {
		return nil
	}
	return refOf(r.parent.record)
}

// inherit makes the child like its parent.
func (d *draft) inherit() {
	b := *d.r.parent.bottle
	b.Routes = shareBudgets(b.Routes, b.SubBottles.Max)
	d.bottle, d.inherits = &b, true
	d.plan.Bottles = slices.Clone(d.r.parent.record.Bottles)
}

// subBottles leaves a child one generation less than its parent has, and no more
// bottles at one time.
func (d *draft) subBottles() {
	if d.r.parent == nil {
		return
	}
	b, p := *d.bottle, d.r.parent.bottle.SubBottles
	left := generations(p) - 1
	if depth := min(generations(b.SubBottles), left); depth > 0 {
		b.SubBottles = manifest.SubBottles{Max: min(b.SubBottles.Max, p.Max), Depth: depth}
	} else {
		b.SubBottles = manifest.SubBottles{}
	}
	d.bottle = &b
}

// parentsBackend is the parent's, whatever else the operator would choose now.
func (d *draft) parentsBackend(ctx context.Context) (backend.Selected, error) {
	name := d.r.parent.record.Backend
	for _, want := range []struct{ field, name string }{{"backend of the manifest", d.bottle.Backend}, {"backend", d.req.Backend}} {
		if want.name != "" && want.name != name {
			return backend.Selected{}, &InvalidError{Field: want.field, Problem: fmt.Sprintf("%.60q was asked for, and the launching bottle runs on %q", want.name, name), Allowed: []string{name}}
		}
	}
	return backend.Select(ctx, backend.Selection{Explicit: name, GOOS: d.m.cfg.GOOS, Backends: d.m.cfg.Backends})
}

// leastLimits is what a guest needs to start at all.
var leastLimits = backend.Limits{CPUs: 0.01, MemoryBytes: 16 << 20, DiskBytes: 1 << 20, PIDs: 8} //nolint:gochecknoglobals // a constant; Go has no constant structs

// childLimits are what the manifest says, else an equal share of the parent's own.
// A request may go up to what the manifest allows, else to all of the parent's.
func (d *draft) childLimits() backend.Limits {
	whole, n := d.r.parent.record.Limits, d.r.parent.bottle.SubBottles.Max
	start := backend.Limits{
		CPUs: whole.CPUs / float64(n), MemoryBytes: whole.MemoryBytes / int64(n), DiskBytes: whole.DiskBytes / int64(n), PIDs: whole.PIDs / n,
	}
	allowed, shared := whole, start
	if !d.inherits {
		own := d.bottle.Limits
		start, allowed = orLimits(own, start), orLimits(own, whole)
	}
	out, problems := narrowLimits(allowed, d.req.Limits)
	d.problems = append(d.problems, problems...)
	if len(problems) > 0 {
		return out
	}
	out = orLimits(d.req.Limits, start)
	least, shares := resourcesOf(leastLimits), resourcesOf(shared)
	for i, r := range resourcesOf(out) {
		if r.value == shares[i].value && r.value != 0 && r.value < least[i].value {
			d.fail("limits."+r.name, "%v, the launching bottle's divided by the %d it may launch, is too little to run in; give limits.%s", r.value, n, r.name)
		}
	}
	return out
}

// orLimits takes what a says, and the rest from b.
func orLimits(a, b backend.Limits) backend.Limits {
	return backend.Limits{
		CPUs: cmp.Or(a.CPUs, b.CPUs), MemoryBytes: cmp.Or(a.MemoryBytes, b.MemoryBytes),
		DiskBytes: cmp.Or(a.DiskBytes, b.DiskBytes), PIDs: cmp.Or(a.PIDs, b.PIDs),
	}
}

// attenuate proves that the child does no more than its parent, whatever the
// steps before did to that end.
func (d *draft) attenuate(ctx context.Context) error {
	p := d.r.parent
	if p == nil || d.r.engine == nil {
		return nil
	}
	child, parent := grantOf(d.effective()), grantOf(*p.bottle)
	d.problems = append(d.problems, attenuation().excesses(&child, &parent)...)
	d.r.spends = d.spends()
	err := d.m.room(ctx, p.record, newChild{d.plan.ID, d.plan.Limits, d.r.spends})
	var beyond *BeyondError
	switch {
	case errors.As(err, &beyond):
		d.problems = append(d.problems, err)
	case err != nil && !errors.Is(err, backend.ErrExists): // Launch answers for an id that runs
		return err
	}
	return nil
}

// callerPath is a path of the calling bottle's own file system, for what the
// tools call the host's side.
func callerPath(field, p string) (full string, intoDir bool, err error) {
	switch {
	case p == "" || strings.ContainsRune(p, 0) || len(p) > maxGuestPath:
		return "", false, &InvalidError{Field: field, Problem: fmt.Sprintf("%.200q is not a path; name one of your own file system", p)}
	case slices.Contains(strings.Split(p, "/"), ".."):
		return "", false, &InvalidError{Field: field, Problem: fmt.Sprintf("%.200q is not accepted: write a path without '..'", p)}
	case !path.IsAbs(p):
		return path.Join(backend.GuestWorkspace, p), strings.HasSuffix(p, "/"), nil
	}
	return path.Clean(p), strings.HasSuffix(p, "/"), nil
}

// callerWorkspace takes the workspace from the calling bottle.
func (d *draft) callerWorkspace() {
	at, _, err := callerPath("workspace", d.req.Workspace)
	if err != nil {
		d.problems = append(d.problems, err)
		return
	}
	d.r.callerDir = at
	d.plan.Workspace = &WorkspacePlan{Host: string(d.r.parent.record.ID) + ":" + at, Guest: backend.GuestWorkspace}
}

// dockerfileName is how a plan names a Dockerfile of this host, where it lies for
// whom that concerns.
func (d *draft) dockerfileName(path string) string {
	if d.r.parent != nil {
		return "a Dockerfile of the operator's"
	}
	return path
}

// hostError is what failed on this host's side of a bottle's launch, without what
// it says of the host. The log has it.
type hostError struct{ cause error }

func (e *hostError) Error() string {
	return "something on the host failed; the operator's log says what"
}

// Unwrap gives what failed, to be recognized and not to be shown.
func (e *hostError) Unwrap() error { return e.cause }

// shown is a failed step's error as the caller may read it. Of what a bottle can
// mend itself, and of isolation, it is told all.
func (l *launch) shown(failed *StepError) *StepError {
	if l.r.parent == nil {
		return failed
	}
	out := *failed
	if !slices.Contains([]string{"reserve", "self-test", "copy-workspace"}, out.Step) && !errors.Is(out.Err, errParentGone) {
		out.Err = &hostError{out.Err}
	}
	if out.Rollback != nil {
		out.Rollback = &hostError{out.Rollback}
	}
	return &out
}

// childProblem takes the place of a bottle's problem for the bottle that launched
// it: the text names what is on the host.
const childProblem = "its record or its engine is in trouble, of which the operator's log says more; cleanup it"

// forGuests leaves out of problems what is the operator's business: where
// manifests lie, and which there are. The log has it.
func (d *draft) forGuests() {
	if d.r.parent == nil {
		return
	}
	for i, p := range d.problems {
		var invalid *InvalidError
		var beyond *BeyondError
		field := "manifests"
		if errors.As(p, &invalid) {
			field = invalid.Field
		}
		if errors.As(p, &beyond) || invalid != nil && !strings.HasPrefix(field, "agent_provider") && field != "skills of the agent" && field != "image of the manifest" {
			continue
		}
		d.m.log.Warn("a bottle's launch is refused", "parent", d.r.parent.record.ID, "reason", p)
		d.problems[i] = &InvalidError{Field: field, Problem: "the agent or bottle that was named does not exist or cannot be used here; leave both out for a bottle like your own, or ask the operator, whose log says why"}
	}
}
