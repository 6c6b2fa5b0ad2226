package provision

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// spending is what is used of a bottle's routes, by their hosts. Only routes with a
// budget are in it.
type spending map[string]sidecars.Budget

// add gives the sum; back takes o away again.
func (s spending) add(o spending, back bool) spending {
	out := maps.Clone(s)
	if out == nil {
		out = spending{}
	}
	for host, b := range o {
		if back {
			out[host] = out[host].Minus(b)
		} else {
			out[host] = out[host].Plus(b)
		}
	}
	return out
}

// shareBudgets divides the budgets of routes by n, for bottles that are to have
// equal shares. A share is at least one, and the sum is looked at besides.
func shareBudgets(routes []manifest.Route, n int) []manifest.Route {
	out := slices.Clone(routes)
	for i, r := range out {
		if r.Budget == nil {
			continue
		}
		b := *r.Budget
		out[i].Budget = &sidecars.Budget{
			Requests: share(b.Requests, n), BytesOut: share(b.BytesOut, n), BytesIn: share(b.BytesIn, n), PerMinute: share(b.PerMinute, n),
		}
	}
	return out
}

// share leaves what is no bound as it is.
func share[T int | int64](whole T, n int) T {
	if whole == 0 {
		return 0
	}
	return max(1, whole/T(n))
}

// spends is what the planned bottle may use of its parent's routes.
func (d *draft) spends() spending {
	child, err := compileRoutes(d.r.routes)
	if err != nil {
		return nil // attenuate says so
	}
	parent, err := compileRoutes(d.r.parent.bottle.Routes)
	if err != nil {
		return nil
	}
	return policy.Spend(child, parent)
}

// budgetsBeyond: all that a bottle's bottles may use of a route in its life is
// within its own budget, and all that live together are no faster.
func budgetsBeyond(bottle *manifest.Bottle, before, live, asked spending) error {
	for _, r := range bottle.Routes {
		b, ask := r.Budget, asked[r.Host]
		if b == nil || ask == (sidecars.Budget{}) {
			continue
		}
		had, now := before[r.Host], live[r.Host]
		for _, c := range []struct {
			name             string
			had, ask, allows int64
		}{
			{"requests", had.Requests, ask.Requests, b.Requests}, {"bytes_out", had.BytesOut, ask.BytesOut, b.BytesOut},
			{"bytes_in", had.BytesIn, ask.BytesIn, b.BytesIn}, {"per_minute", int64(now.PerMinute), int64(ask.PerMinute), int64(b.PerMinute)},
		} {
			if c.allows > 0 && sidecars.AddCapped(c.had, c.ask) > c.allows {
				return &BeyondError{What: "budget", Detail: fmt.Sprintf("%s of the route for %s: %d asked for, and %d of the launching bottle's %d are left for its bottles; leave the host out, or have the operator allow more",
					c.name, r.Host, c.ask, max(0, c.allows-c.had), c.allows)}
			}
		}
	}
	return nil
}

// charge writes into a parent's record what its bottles may use, or gives it back.
// The parent's lock is held.
func charge(held *state.Lock, r state.Record, what spending, back bool) error {
	if len(what) == 0 {
		return nil
	}
	d, err := decodeDetail(r.Detail)
	if err != nil {
		return err
	}
	d.Spent = d.Spent.add(what, back)
	if r.Detail, err = d.encode(); err != nil {
		return err
	}
	return held.Write(r)
}

// giveBack returns the budgets of a bottle that was never handed over. Where the
// parent goes too, there is nothing to return them to.
func (l *launch) giveBack(ctx context.Context) {
	if l.r.parent == nil || len(l.detail.Spends) == 0 || l.parentLives() != nil {
		return
	}
	id := l.r.parent.record.ID
	held, err := l.m.lock(ctx, id)
	if err == nil {
		var r state.Record
		if r, err = l.m.cfg.State.Read(id); err == nil && refOf(l.r.parent.record).is(r) {
			err = charge(held, r, l.detail.Spends, true)
		}
		_ = held.Unlock()
	}
	if err != nil {
		l.m.log.Warn("the budgets of a launch that failed stay used", "bottle", l.plan.ID, "parent", id, "error", err)
	}
}

// spendingOf sums what the children of records may use of their parent's routes.
func spendingOf(children []state.Record, except backend.ID) (spending, error) {
	sum := spending{}
	for _, r := range children {
		if r.ID == except {
			continue
		}
		d, err := decodeDetail(r.Detail)
		if err != nil {
			return nil, fmt.Errorf("bottle %s: %w", r.ID, err)
		}
		sum = sum.add(d.Spends, false)
	}
	return sum, nil
}
