package provision

import (
	"context"
	"errors"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// family knows which bottle launched which.
type family struct {
	all []listed
	at  map[backend.ID]int
}

func newFamily(all []listed) family {
	f := family{all: all, at: map[backend.ID]int{}}
	for i := range all {
		f.at[all[i].ID] = i
	}
	return f
}

// parent is the bottle that launched another one, when it is still known.
func (f family) parent(i int) (int, bool) {
	id, child := parentID(f.all[i].principal)
	j, known := f.at[id]
	if !child || !known {
		return 0, false
	}
	// A later bottle of its id is not the parent. Where the record does not say
	// when the parent was launched, the id has to do.
	ref := f.all[i].parent
	return j, ref == nil || ref.Created.Equal(f.all[j].Created)
}

// line is a bottle and those above it, itself first.
func (f family) line(i int) []int {
	line := []int{i}
	for ok := true; ok; {
		if i, ok = f.parent(i); ok && !slices.Contains(line, i) {
			line = append(line, i)
		} else {
			ok = false
		}
	}
	return line
}

// abandoned reports whether one of those above a bottle has ended. Where an engine
// does not answer, nobody knows.
func (f family) abandoned(i int) bool {
	for _, k := range f.line(i) {
		if _, child := parentID(f.all[k].principal); !child {
			return false
		}
		j, known := f.parent(k)
		if !known {
			return true
		}
		if p := &f.all[j]; !p.silent && (p.phase != state.Ready || p.orphan()) {
			return true
		}
	}
	return false
}

// orphan reports whether nothing uses a bottle any more.
func (f family) orphan(i int) bool { return f.all[i].orphan() || f.abandoned(i) }

// closeParents marks those that go, so that they launch no more, and adds to the
// plan what they have launched since it was made. It begins at the top: a launch
// that is under way below gives up when its parent is marked.
func (m *Manager) closeParents(ctx context.Context, plan []removal) []removal {
	for depth := 0; slices.ContainsFunc(plan, func(p removal) bool { return p.depth >= depth }); depth++ {
		closed := map[backend.ID]removal{}
		for _, p := range plan {
			if p.depth == depth && p.item.Action == actionRemove && p.target.launches && m.markRemoving(ctx, p) {
				closed[p.item.ID] = p
			}
		}
		if len(closed) > 0 {
			plan = append(plan, m.newcomers(closed, plan)...)
		}
	}
	return plan
}

// markRemoving reports whether the bottle launches nothing from here on.
func (m *Manager) markRemoving(ctx context.Context, p removal) bool {
	l := p.target
	lock, err := m.lockWithin(ctx, l.ID, p.patience())
	if errors.Is(err, backend.ErrNotFound) {
		return false
	}
	if err != nil {
		m.log.Warn("a bottle is removed without being closed to launches first", "bottle", l.ID, "error", err)
		return false
	}
	defer func() { _ = lock.Unlock() }()
	r, err := m.cfg.State.Read(l.ID)
	if err != nil || !r.Created.Equal(l.Created) {
		return false
	}
	r.Phase = state.Removing
	if err := lock.Write(r); err != nil {
		m.log.Warn("a removal is not recorded", "bottle", l.ID, "error", err)
		return false
	}
	m.guests.stopOne(l.ID) // its calls end, launches among them
	return true
}

// newcomers are bottles of those that were closed which no plan names.
func (m *Manager) newcomers(closed map[backend.ID]removal, plan []removal) []removal {
	entries, err := m.cfg.State.List()
	if err != nil {
		m.log.Warn("bottles of a bottle that goes cannot be looked for; run cleanup --orphans", "error", err)
		return nil
	}
	var out []removal
	for _, e := range entries {
		id, child := parentID(e.Record.Principal)
		p, gone := closed[id]
		planned := func(r removal) bool { return r.item.ID == e.ID }
		if !child || !gone || e.Err != nil || slices.ContainsFunc(plan, planned) {
			continue
		}
		l := m.fromRecord(e.Record)
		out = append(out, removal{m.itemFor(l), l, p.depth + 1})
	}
	return out
}
