package provision

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// newChild is a bottle that is to be launched, as its parent has to make room for it.
type newChild struct {
	id     backend.ID
	limits backend.Limits
	spends spending
}

// errParentGone means that the bottle that launches another one has ended
// meanwhile.
var errParentGone = errors.New("the bottle that launches it has ended")

// room reports whether a bottle may have one more child: it lives, so do fewer
// than it may have, and with this one they have together no more than itself. What
// is too much is a *BeyondError; a child of that id gives backend.ErrExists.
func (m *Manager) room(ctx context.Context, parent state.Record, c newChild) error {
	bottle, err := inherited(parent, m.cfg.Now())
	if err != nil {
		return err
	}
	live, err := m.children(ctx, parent)
	if err != nil {
		return err
	}
	sum := resourcesOf(c.limits)
	fast, err := spendingOf(live, c.id)
	if err != nil {
		return err
	}
	for _, r := range live {
		if r.ID == c.id {
			return fmt.Errorf("bottle %s: %w", c.id, backend.ErrExists)
		}
		for i, used := range resourcesOf(r.Limits) {
			sum[i].value += used.value
		}
	}
	if most := bottle.SubBottles.Max; len(live) >= most {
		return &BeyondError{What: "sub_bottles", Detail: fmt.Sprintf("%d of the %d bottles that bottle %s may have at one time live; cleanup one of them first", len(live), most, parent.ID)}
	}
	for i, bound := range resourcesOf(parent.Limits) {
		if exceeds(sum[i].value, bound.value) {
			asked := resourcesOf(c.limits)[i].value
			return &BeyondError{What: "limits", Detail: fmt.Sprintf("%s: %v asked for, and %v of bottle %s's %v are left beside its other bottles; give less in limits, or cleanup one",
				bound.name, asked, max(0, bound.value-(sum[i].value-asked)), parent.ID, bound.value)}
		}
	}
	d, err := decodeDetail(parent.Detail)
	if err != nil {
		return err
	}
	return budgetsBeyond(bottle, d.Spent, fast, c.spends)
}

// children are the records of a bottle's children that live or are being
// launched. A record or an engine that cannot be read is an error: uncounted
// children would be too many.
func (m *Manager) children(ctx context.Context, parent state.Record) ([]state.Record, error) {
	fail := func(err error) ([]state.Record, error) {
		return nil, fmt.Errorf("count the bottles of bottle %s: %w", parent.ID, err)
	}
	engine, err := m.engine(parent.Backend)
	if err != nil {
		return fail(err)
	}
	instances, err := engine.List(ctx)
	if err != nil {
		return fail(err)
	}
	runs := map[backend.ID]bool{}
	for _, in := range instances {
		runs[in.ID] = in.Owner == m.cfg.State.Owner() && in.State != backend.Dead && in.State != backend.Expired
	}
	if !runs[parent.ID] {
		return fail(errParentGone)
	}
	entries, err := m.cfg.State.List()
	if err != nil {
		return fail(err)
	}
	var out []state.Record
	for _, e := range entries {
		if e.Err != nil && runs[e.ID] {
			return fail(errors.New("the record of a bottle that runs cannot be read; have the operator run cleanup"))
		}
		if id, ok := parentID(e.Record.Principal); !ok || id != parent.ID {
			continue
		}
		// One that is being launched may have nothing running yet, and one that is
		// being removed may still have.
		starting := (e.Record.Phase == state.Reserved || e.Record.Phase == state.Launching) && e.Record.Launcher.Alive()
		if starting || runs[e.ID] {
			out = append(out, e.Record)
		}
	}
	return out, nil
}

// reserveChild takes the id under the parent's lock, so that of several launches
// at once none goes beyond what there is, and none begins while the parent is
// being removed.
func (l *launch) reserveChild(ctx context.Context) (*state.Lock, error) {
	p := l.r.parent
	held, err := l.m.lock(ctx, p.record.ID)
	switch {
	case errors.Is(err, backend.ErrNotFound):
		return nil, errParentGone
	case errors.Is(err, state.ErrBusy) && ctx.Err() == nil:
		return nil, fmt.Errorf("bottle %s, which launches it, is being removed or launches others; try again: %w", p.record.ID, err)
	case err != nil:
		return nil, err
	}
	lock, err := l.reserveLocked(ctx, held)
	return lock, errors.Join(err, held.Unlock())
}

func (l *launch) reserveLocked(ctx context.Context, held *state.Lock) (*state.Lock, error) {
	if err := l.parentLives(); err != nil {
		return nil, err
	}
	p, err := l.m.cfg.State.Read(l.r.parent.record.ID) // what is spent, as it is now
	if err != nil {
		return nil, err
	}
	if err := l.m.room(ctx, p, newChild{l.plan.ID, l.plan.Limits, l.detail.Spends}); err != nil {
		return nil, err
	}
	if l.record.Expires.After(p.Expires) {
		l.record.Expires = p.Expires
	}
	raw, err := l.detail.encode() // whose child it is, from the beginning
	if err != nil {
		return nil, err
	}
	l.record.Detail = raw
	if err := charge(held, p, l.detail.Spends, false); err != nil {
		return nil, err
	}
	lock, err := l.m.cfg.State.Reserve(ctx, l.record)
	if err != nil && len(l.detail.Spends) > 0 {
		err = errors.Join(err, held.Write(p)) // as it was
	}
	return lock, err
}

// parentLives fails when the parent of the bottle that is being launched has
// ended meanwhile. It is asked before each step and at the last one: whoever
// removes the parent has marked it before it looks for children.
func (l *launch) parentLives() error {
	if l.r.parent == nil {
		return nil
	}
	old := l.r.parent.record
	r, err := l.m.cfg.State.Read(old.ID)
	if errors.Is(err, backend.ErrNotFound) || err == nil && (r.Phase != state.Ready || !refOf(old).is(r) || !l.m.cfg.Now().Before(r.Expires)) {
		return fmt.Errorf("bottle %s: %w", old.ID, errParentGone)
	}
	return err
}

// Shape of an id that a bottle chose for its child.
const (
	idTag  = 5
	idBase = 36
)

// childID makes the id that a bottle chooses one of its own: no choice can meet a
// bottle of somebody else, or find out that there is one.
func childID(parent state.Record, chosen backend.ID) backend.ID {
	// None of the parts holds a blank.
	sum := sha256.Sum256([]byte(fmt.Sprint(parent.ID, " ", parent.Created.UnixNano(), " ", chosen)))
	tag := new(big.Int).SetBytes(sum[:]).Text(idBase)
	name := strings.TrimRight(string(chosen[:min(len(chosen), idMax-idTag-1)]), "-")
	return backend.ID(name + "-" + tag[:idTag])
}

// taken is what a bottle is told of an id that it cannot have.
func taken(id backend.ID) error {
	return fmt.Errorf("id %s cannot be had with these settings; choose another one, or leave it out: %w", id, backend.ErrExists)
}
