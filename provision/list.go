package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// listed is a bottle as the store and the engines see it together.
type listed struct {
	Bottle

	phase     state.Phase // "" = there is no readable record
	principal string
	parent    *parentRef      // nil = the operator's side launched it, or it is not known
	silent    bool            // its engine does not answer
	launches  bool            // it may launch bottles
	recorded  bool            // there is a directory in the store
	empty     bool            // … which holds no record
	foreign   bool            // … whose record is another owner's
	logStart  int64           // where the guest's own part of the egress log begins
	inEngine  bool            // an engine knows it
	engine    backend.Backend // nil when it is not known which
}

// List returns the bottles that who may see, oldest first: also those that
// only the store or only an engine knows.
func (m *Manager) List(ctx context.Context, who Principal) ([]Bottle, error) {
	all, err := m.survey(ctx)
	if err != nil {
		return nil, err
	}
	out := []Bottle{}
	view := m.viewer(who)
	for _, l := range all {
		if view.sees(l.principal, l.parent) {
			l.Refusals = m.decisions.refusals(l.life())
			out = append(out, view.shown(l.Bottle))
		}
	}
	return out, nil
}

// Get returns one bottle. One that who may not see is backend.ErrNotFound.
func (m *Manager) Get(ctx context.Context, who Principal, id backend.ID) (*Bottle, error) {
	all, err := m.survey(ctx)
	if err != nil {
		return nil, err
	}
	view := m.viewer(who)
	for _, l := range all {
		if l.ID == id && view.sees(l.principal, l.parent) {
			l.Refusals = m.decisions.refusals(l.life())
			b := view.shown(l.Bottle)
			return &b, nil
		}
	}
	return nil, fmt.Errorf("bottle %.60q: %w", string(id), backend.ErrNotFound)
}

// find joins one record with its engine.
func (m *Manager) find(ctx context.Context, r state.Record) (*Bottle, error) {
	engine, err := m.engine(r.Backend)
	if err != nil {
		return nil, err
	}
	instances, err := engine.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for bottle %s: %w", r.ID, err)
	}
	l := m.fromRecord(r)
	if i := slices.IndexFunc(instances, func(in backend.Instance) bool { return in.ID == r.ID }); i >= 0 {
		l.join(instances[i])
	}
	l.Refusals = m.decisions.refusals(l.life())
	return &l.Bottle, nil
}

// survey joins the store's records with what the engines know.
func (m *Manager) survey(ctx context.Context) ([]listed, error) {
	// The engines first: a bottle that is launched meanwhile is then seen in the
	// store as starting, and none as an orphan without a record.
	instances, silent := m.instances(ctx)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list bottles: %w", context.Cause(ctx))
	}
	entries, err := m.cfg.State.List()
	if err != nil {
		return nil, err
	}
	var out []listed
	for _, e := range entries {
		l := m.fromEntry(e)
		if in, ok := instances[e.ID]; ok {
			l.join(in.Instance)
			l.engine = in.engine
			delete(instances, e.ID)
		} else if why, ok := silent[l.Backend]; ok && l.phase == state.Ready {
			l.Problem, l.silent = "its engine does not answer: "+why, true
		}
		out = append(out, l)
	}
	for _, in := range instances {
		l := listed{Bottle: Bottle{ID: in.ID, Backend: in.engine.Name(), Bottles: []string{}, Usage: unknownUsage()}, engine: in.engine}
		l.join(in.Instance)
		l.Created, l.Expires = in.Created, in.Expires
		l.Problem = "there is no record of it; remove it with cleanup"
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b listed) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// found is an instance and the engine that runs it.
type found struct {
	backend.Instance

	engine backend.Backend
}

// instances asks every engine. One that fails is told in silent with its
// reason, and hides no bottle of the others.
func (m *Manager) instances(ctx context.Context) (all map[backend.ID]found, silent map[string]string) {
	all, silent = map[backend.ID]found{}, map[string]string{}
	for _, b := range m.cfg.Backends {
		list, err := b.List(ctx)
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, nil // who asked has gone: it tells nothing of the engine
		}
		if err != nil {
			m.log.Warn("a backend cannot list its bottles", "backend", b.Name(), "error", err)
			silent[b.Name()] = err.Error()
			continue
		}
		for _, in := range list {
			if in.Owner == m.cfg.State.Owner() {
				all[in.ID] = found{Instance: in, engine: b}
			}
		}
	}
	return all, silent
}

func (m *Manager) fromEntry(e state.Entry) listed {
	if e.Err == nil {
		return m.fromRecord(e.Record)
	}
	l := listed{recorded: true, empty: errors.Is(e.Err, state.ErrNoRecord), foreign: errors.Is(e.Err, state.ErrForeign)}
	l.Bottle = Bottle{ID: e.ID, State: backend.Dead, Bottles: []string{}, Usage: unknownUsage(), Problem: e.Err.Error()}
	return l
}

// fromRecord is what the store alone says: dead, unless it is being launched.
func (m *Manager) fromRecord(r state.Record) listed {
	d, err := decodeDetail(r.Detail)
	l := listed{Bottle: bottleOf(r, d), phase: r.Phase, principal: r.Principal, parent: d.Parent, launches: len(d.Inheritance) > 0, recorded: true, logStart: d.LogStart}
	l.engine, _ = m.engine(r.Backend)
	if err != nil {
		l.Problem = err.Error()
	}
	l.Services = map[sidecars.Service]bool{}
	for _, svc := range d.Services {
		l.Services[svc] = false
	}
	switch {
	case l.launching() && r.Launcher.Alive():
		l.State = backend.Starting
	case r.Phase == state.Ready && m.cfg.Now().After(r.Expires):
		l.State = backend.Expired
	default:
		l.State = backend.Dead
	}
	return l
}

// life names the bottle's one life, since an id can be used again.
func (l *listed) life() life { return life{l.ID, l.Created.UnixNano(), l.logStart} }

func (l *listed) launching() bool { return l.phase == state.Reserved || l.phase == state.Launching }

// join adds what the engine says. A bottle is running only when it was also
// handed over.
func (l *listed) join(in backend.Instance) {
	l.inEngine = true
	l.Usage, l.Services = in.Usage, in.Services
	if !l.launching() && l.phase != state.Removing {
		l.State = in.State
	}
}

// orphan reports whether nothing uses the bottle any more.
func (l *listed) orphan() bool {
	return l.State == backend.Dead || l.State == backend.Expired
}
