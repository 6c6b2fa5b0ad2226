package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

const (
	// removeParallel is how many bottles are removed at once.
	removeParallel = 4
	// removeTimeout bounds one removal, lockTimeout its wait for another call.
	removeTimeout = 2 * time.Minute
	lockTimeout   = 5 * time.Second
	// launchEnds is how long a removal waits for a launch to end that notices that
	// its parent is gone.
	launchEnds = time.Minute

	actionRemove = "remove"
	actionKeep   = "keep"
)

// Cleanup removes the selected bottles, newest first, and reports each at its
// start and end. It is idempotent and may run several times at once. An item
// says what came of each bottle; the error is only for what concerns all.
func (m *Manager) Cleanup(ctx context.Context, req CleanupRequest, report func(Event)) ([]CleanupItem, error) {
	if err := req.validate(); err != nil {
		return nil, err
	}
	all, err := m.survey(ctx)
	if err != nil {
		return nil, err
	}
	plan := m.planCleanup(req, all)
	if req.DryRun {
		items := make([]CleanupItem, len(plan))
		for i, p := range plan {
			items[i] = p.item
		}
		return items, nil
	}
	items := m.execute(ctx, plan, report)
	if err := ctx.Err(); err != nil {
		return items, fmt.Errorf("cleanup: %w", context.Cause(ctx))
	}
	return items, nil
}

func (req CleanupRequest) validate() error {
	given := 0
	for _, on := range []bool{len(req.IDs) > 0, req.All, req.Orphans} {
		if on {
			given++
		}
	}
	if given != 1 {
		return &InvalidError{Field: "cleanup", Problem: "exactly one of ids, all and orphans must be given"}
	}
	for _, id := range req.IDs {
		if err := id.Validate(); err != nil {
			return &InvalidError{Field: "ids", Problem: err.Error()}
		}
	}
	return nil
}

// removal is one planned item.
type removal struct {
	item   CleanupItem
	target listed
	depth  int // how many planned bottles are above it
}

// patience is how long another call that has the bottle is waited for. The launch
// of a bottle's bottle ends soon when its parent goes.
func (p removal) patience() time.Duration {
	if p.depth > 0 {
		return launchEnds
	}
	return lockTimeout
}

// planCleanup decides what happens to each bottle. With a bottle go those that it
// launched, and theirs.
func (m *Manager) planCleanup(req CleanupRequest, all []listed) []removal {
	var plan []removal
	f, view := newFamily(all), m.viewer(req.Principal)
	chosen := func(i int) bool {
		l := &all[i]
		return view.sees(l.principal, l.parent) && (req.All || req.Orphans && f.orphan(i) || slices.Contains(req.IDs, l.ID))
	}
	for i := len(all) - 1; i >= 0; i-- {
		if line := f.line(i); slices.ContainsFunc(line, chosen) {
			plan = append(plan, removal{m.itemFor(all[i]), all[i], len(line) - 1})
		}
	}
	for _, id := range req.IDs {
		if !slices.ContainsFunc(plan, func(r removal) bool { return r.item.ID == id }) {
			plan = append(plan, removal{item: CleanupItem{ID: id, Action: actionKeep, Reason: "there is no such bottle; nothing is to be removed", Done: true}})
		}
	}
	return plan
}

// itemFor says what is to be done with a bottle. A ".preserve" file keeps its
// directory and never a process.
func (m *Manager) itemFor(l listed) CleanupItem {
	item := CleanupItem{ID: l.ID, Action: actionRemove}
	if l.foreign {
		item.Action, item.Reason = actionKeep, "it belongs to another owner id, and only what is ours is removed"
		return item
	}
	if m.cfg.State.Preserved(l.ID) {
		if !l.inEngine {
			item.Action, item.Reason = actionKeep, "its directory holds .preserve; delete that file first"
			return item
		}
		item.Reason = "its directory is kept, because it holds .preserve"
	}
	return item
}

// execute removes what is planned, several at once, and what those that go have
// launched meanwhile. A bottle goes after those that it launched.
func (m *Manager) execute(ctx context.Context, plan []removal, report func(Event)) []CleanupItem {
	plan = m.closeParents(ctx, plan)
	items, deepest := make([]CleanupItem, len(plan)), 0
	for i, p := range plan {
		items[i], deepest = p.item, max(deepest, p.depth)
	}
	var mu sync.Mutex
	tell := func(e Event) {
		if report != nil {
			mu.Lock()
			defer mu.Unlock()
			report(e)
		}
	}
	for depth := deepest; depth >= 0; depth-- {
		var g errgroup.Group
		g.SetLimit(removeParallel)
		for i, p := range plan {
			if p.depth != depth || p.item.Action != actionRemove {
				continue
			}
			g.Go(func() error {
				event := Event{Step: actionRemove, Index: i + 1, Total: len(plan), Detail: string(p.item.ID)}
				tell(event)
				start := time.Now()
				if err := m.remove(ctx, p); err != nil {
					items[i].Reason = err.Error()
					m.log.Warn("a bottle is not removed", "bottle", p.item.ID, "error", err)
				} else {
					items[i].Done, event.Done = true, true
				}
				event.Elapsed = time.Since(start)
				tell(event)
				return nil
			})
		}
		_ = g.Wait() // outcomes are in the items
	}
	return items
}

// remove removes one bottle: engine first, then the record, so that a removal
// that is cut short is found again.
func (m *Manager) remove(ctx context.Context, p removal) error {
	l := p.target
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	if !l.recorded {
		return l.engine.Remove(ctx, l.ID)
	}
	lock, err := m.lockWithin(ctx, l.ID, p.patience())
	if errors.Is(err, backend.ErrNotFound) {
		return nil // somebody else was faster
	}
	if errors.Is(err, state.ErrBusy) && ctx.Err() == nil {
		return fmt.Errorf("bottle %s is being launched or removed by another call; try again when that has ended: %w", l.ID, err)
	}
	if err != nil {
		return err
	}
	return m.removeLocked(ctx, lock, l)
}

func (m *Manager) lock(ctx context.Context, id backend.ID) (*state.Lock, error) {
	return m.lockWithin(ctx, id, lockTimeout)
}

func (m *Manager) lockWithin(ctx context.Context, id backend.ID, wait time.Duration) (*state.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return m.cfg.State.Lock(ctx, id)
}

// removeLocked removes a bottle whose lock is held, and lets go of the lock.
func (m *Manager) removeLocked(ctx context.Context, lock *state.Lock, l listed) error {
	// It may have become another bottle of the same id while we waited.
	r, err := m.cfg.State.Read(l.ID)
	if err == nil && l.phase != "" && !r.Created.Equal(l.Created) {
		return errors.Join(fmt.Errorf("bottle %s was launched anew meanwhile; list again", l.ID), lock.Unlock())
	}
	if err == nil && r.Phase != state.Removing {
		r.Phase = state.Removing
		if err := lock.Write(r); err != nil {
			m.log.Warn("a removal is not recorded", "bottle", l.ID, "error", err) // a full disk must not stop it
		}
	}
	m.guests.stopOne(l.ID)
	m.witness.last(l.ID, l.Created)
	keep := m.cfg.State.Preserved(l.ID)
	if keep {
		if err := lock.Preserve(); err != nil {
			m.log.Warn("an egress log is not preserved", "bottle", l.ID, "error", err)
		}
	}
	if err := m.removeFromEngines(ctx, l); err != nil {
		return errors.Join(err, lock.Unlock())
	}
	m.decisions.forget(l.ID)
	if keep {
		m.witness.poll(l.ID, l.Created) // its last lines
		return errors.Join(m.cfg.State.RemoveSocket(l.ID), lock.Unlock())
	}
	return lock.Remove()
}

// removeFromEngines asks the bottle's engine, or every one when a damaged
// record does not say which: each removes only what is provably ours.
func (m *Manager) removeFromEngines(ctx context.Context, l listed) error {
	engines := m.cfg.Backends
	if l.engine != nil {
		engines = []backend.Backend{l.engine}
	} else if l.phase != "" {
		_, err := m.engine(l.Backend)
		return err
	}
	var errs []error
	for _, b := range engines {
		errs = append(errs, b.Remove(ctx, l.ID))
	}
	return errors.Join(errs...)
}

// Reconcile finishes what servers that died left half done: launches that will
// never be handed over, and removals. It ends bottles whose parent has ended. Of
// what was handed over it removes nothing else.
func (m *Manager) Reconcile(ctx context.Context) ([]CleanupItem, error) {
	return m.reconcile(ctx, func(f family, i int) bool {
		l := &f.all[i]
		return l.phase == state.Removing || l.launching() && l.State != backend.Starting || l.empty && !l.inEngine || f.abandoned(i)
	})
}

// EndAbandoned ends bottles whose parent has ended by itself. Call it now and then:
// where no bottle was launched by another it asks no engine.
func (m *Manager) EndAbandoned(ctx context.Context) ([]CleanupItem, error) {
	entries, err := m.cfg.State.List()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(entries, func(e state.Entry) bool { _, child := parentID(e.Record.Principal); return child }) {
		return nil, nil
	}
	return m.reconcile(ctx, family.abandoned)
}

// reconcile removes those that are chosen and that nobody works on.
func (m *Manager) reconcile(ctx context.Context, chosen func(f family, i int) bool) ([]CleanupItem, error) {
	all, err := m.survey(ctx)
	if err != nil {
		return nil, err
	}
	var plan []removal
	f := newFamily(all)
	for i, l := range all {
		if chosen(f, i) && m.free(ctx, l.ID) {
			plan = append(plan, removal{m.itemFor(l), l, len(f.line(i)) - 1})
		}
	}
	items := m.execute(ctx, plan, nil)
	if err := ctx.Err(); err != nil {
		return items, fmt.Errorf("reconcile: %w", context.Cause(ctx))
	}
	return items, nil
}

// free reports whether nobody works on the bottle just now.
func (m *Manager) free(ctx context.Context, id backend.ID) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	lock, err := m.cfg.State.Lock(ctx, id)
	return err == nil && lock.Unlock() == nil
}
