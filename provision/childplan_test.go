package provision

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// remake gives a bottle that runs another past: as if it had been launched so.
func (b *bed) remake(id backend.ID, as manifest.Bottle, life time.Duration) {
	b.t.Helper()
	lock, err := b.store.Lock(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := b.store.Read(id)
	if err != nil {
		b.t.Fatal(err)
	}
	d, err := decodeDetail(r.Detail)
	if err == nil {
		d.Inheritance, err = (&inheritance{Version: inheritanceVersion, Bottle: as}).encode()
	}
	if err == nil {
		r.Detail, err = d.encode()
	}
	r.Backend, r.Isolation, r.Limits, r.Expires = as.Backend, as.Isolation, as.Limits, time.Now().Add(life)
	if err = errors.Join(err, lock.Write(r), lock.Unlock()); err != nil {
		b.t.Fatal(err)
	}
}

// manifestOf writes a grant's routes and environment as an operator's bottle.
func manifestOf(t *testing.T, g Grant) string {
	t.Helper()
	routes := []map[string]any{}
	for _, r := range g.Routes {
		m := map[string]any{"host": r.Host, "git": map[string]any{"fetch": r.GitFetch}}
		if r.Auth != nil {
			m["auth"] = map[string]any{"scheme": r.Auth.Scheme, "token_ref": r.Auth.TokenRef}
		}
		if len(r.Ports) > 0 {
			m["ports"] = r.Ports
		}
		if len(r.Matches) > 0 {
			p := r.Matches[0].Paths[0]
			match := map[string]any{"paths": []map[string]any{{"type": p.Type, "value": p.Value}}}
			if len(r.Matches[0].Methods) > 0 {
				match["methods"] = r.Matches[0].Methods
			}
			m["matches"] = []map[string]any{match}
		}
		routes = append(routes, m)
	}
	env := map[string]string{}
	for name, v := range g.Env {
		env[name] = v.String()
	}
	text, err := yaml.Marshal(map[string]any{
		"egress": map[string]any{"routes": routes}, "env": env,
		"sub_bottles": map[string]any{"max": g.SubBottles.Max, "depth": max(1, g.SubBottles.Depth)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// childRequest asks for anything, also for more than there is.
func (g *grants) childRequest() LaunchRequest {
	var req LaunchRequest
	if g.chance(40) {
		req.OnlyHosts = []string{one(g, "a.test", "x.b.test", "*.b.test", "c.test", "y.b.test")}
	}
	if g.chance(30) {
		req.Bottles = []string{one(g, "b0", "b1", "b2", "b3", "default")}
	}
	if g.chance(30) {
		req.Limits = backend.Limits{PIDs: one(g, 0, 5, 10, 20), MemoryBytes: one[int64](g, 0, 100, 300) << 20}
	}
	if g.chance(30) {
		req.TTL = time.Duration(g.IntN(4)) * time.Minute
	}
	if g.chance(10) {
		req.Env = map[string]string{"A": "own"}
	}
	return req
}

// journey is what random requests came to.
type journey struct {
	planned, telling int
	broken           string // the first deed of a child that its parent cannot do
}

// travel plans random requests of random parents among random bottles of the
// operator's, as who, and tries what the planned bottles can do.
func (b *bed) travel(who Principal, requests int) journey {
	b.t.Helper()
	g := newGrants(7)
	var sum journey
	for i := range requests {
		parent := g.grant()
		parent.Repos, parent.Supervise, parent.Publish, parent.Backend, parent.Isolation = nil, false, nil, "linux", one(g, "namespace", "gvisor")
		parent.SubBottles = manifest.SubBottles{Max: 1 + g.IntN(3), Depth: g.IntN(3)}
		parent.Limits.MemoryBytes <<= 20
		parent.Limits.DiskBytes <<= 20
		parent.TTL = time.Duration(1+g.IntN(3)) * time.Minute
		b.remake("boss", manifest.Bottle{
			Routes: parent.Routes, Env: parent.Env, SubBottles: parent.SubBottles, Limits: parent.Limits,
			Backend: parent.Backend, Isolation: parent.Isolation, TTL: parent.TTL,
		}, parent.TTL)
		if i%10 == 0 {
			for n := range 4 {
				b.bottleFile(fmt.Sprint("b", n), manifestOf(b.t, g.child(parent)))
			}
		}
		p, err := b.planAs(who, g.childRequest())
		var refused *PlanError
		if errors.As(err, &refused) {
			continue
		}
		if err != nil {
			b.t.Fatal(err)
		}
		sum.planned++
		child := Grant{
			Routes: p.resolved.routes, Env: map[string]manifest.EnvValue{}, SubBottles: p.resolved.subBottles,
			Limits: p.Limits, TTL: p.TTL, Backend: p.Backend, Isolation: p.Isolation,
		}
		for name, v := range p.resolved.env {
			if v != (manifest.EnvValue{Literal: "own"}) { // which the caller gave
				child.Env[name] = v
			}
		}
		if !b.tryDeeds(g, &sum, child, parent) {
			break
		}
	}
	return sum
}

// tryDeeds reports whether the parent can do all that the child can.
func (b *bed) tryDeeds(g *grants, sum *journey, child, parent Grant) bool {
	b.t.Helper()
	pp, err := compileRoutes(parent.Routes)
	cp, cerr := compileRoutes(child.Routes)
	if err = errors.Join(err, cerr); err != nil {
		b.t.Fatal(err)
	}
	for range requestsPerPair {
		d := g.deed(child)
		if d.amount != nil {
			d.amount.MemoryBytes <<= 20
			d.amount.DiskBytes <<= 20
		}
		d.age = time.Duration(d.age.Nanoseconds()) * time.Minute
		may, with := can(child, cp, d, true)
		if !may {
			continue
		}
		sum.telling++
		if does, as := can(parent, pp, d, false); !does || as != with {
			sum.broken = fmt.Sprintf("parent %+v\nchild  %+v\ndeed   %+v", parent, child, d)
			return false
		}
	}
	return true
}

// TestPlannedChildrenAreWithin follows the whole way from a request to a plan:
// nothing that a planned child can do is beyond its parent. The operator, who asks
// for the same, gets more at once.
func TestPlannedChildrenAreWithin(t *testing.T) {
	b := newBed(t)
	for _, name := range []string{"T1", "T2", "H1", "H2"} {
		b.setenv(name, "value-of-"+name)
	}
	b.bottleFile("boss", "sub_bottles: {max: 1}")
	b.launch(LaunchRequest{ID: "boss", Bottles: []string{"boss"}})
	requests := 1000
	if testing.Short() {
		requests = 200
	}
	sum := b.travel(guest("boss"), requests)
	t.Logf("%d of %d requests planned, %d deeds done", sum.planned, requests, sum.telling)
	if sum.broken != "" {
		t.Errorf("the child may do what the parent may not:\n%s", sum.broken)
	}
	if sum.planned < requests/10 || sum.telling < sum.planned {
		t.Error("the requests tell too little")
	}
	if control := b.travel(operator, requests); control.broken == "" {
		t.Errorf("without the proof nothing is found: %+v", control)
	}
}

// TestInheritanceKeepsAll: whatever a bottle is, it comes out of the record as it
// went in.
func TestInheritanceKeepsAll(t *testing.T) {
	g := newGrants(5)
	for range 500 {
		in := g.grant()
		bottle := manifest.Bottle{
			Name: "x", Routes: in.Routes, Env: in.Env, Repos: in.Repos, Supervise: in.Supervise, SubBottles: in.SubBottles,
			Limits: in.Limits, TTL: time.Hour, Backend: in.Backend, Isolation: in.Isolation,
		}
		raw, err := (&inheritance{Version: inheritanceVersion, Bottle: bottle}).encode()
		if err != nil {
			t.Fatal(err)
		}
		d, err := detail{Inheritance: raw}.encode()
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		out, err := inherited(state.Record{ID: "x", Detail: d, Expires: now.Add(time.Hour), Limits: in.Limits, Backend: in.Backend, Isolation: in.Isolation}, now)
		if err != nil {
			t.Fatal(err)
		}
		back := grantOf(*out)
		in.Publish, in.TTL = nil, time.Hour
		if fmt.Sprintf("%+v", normal(back)) != fmt.Sprintf("%+v", normal(in)) {
			t.Fatalf("in  %+v\nout %+v", in, back)
		}
		for i, r := range back.Routes {
			if !r.Equal(in.Routes[i]) {
				t.Fatalf("route in %+v, out %+v", in.Routes[i], r)
			}
		}
	}
}

// normal leaves out what Equal compares.
func normal(g Grant) Grant {
	g.Routes = nil
	return g
}

// TestDigestKnowsFamilies: what a bottle may launch, and who launches it, is part
// of what it is; how much time its parent has left is not.
func TestDigestKnowsFamilies(t *testing.T) {
	b := newBed(t)
	digest := func(who Principal, req LaunchRequest) string {
		t.Helper()
		p, err := b.planAs(who, req)
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest
	}
	seen := map[string]string{}
	for _, front := range []string{"{max: 0}", "{max: 1}", "{max: 2}", "{max: 2, depth: 2}"} {
		b.bottleFile("made", "sub_bottles: "+front)
		d := digest(operator, LaunchRequest{Bottles: []string{"made"}})
		if other, twice := seen[d]; twice {
			t.Errorf("%s and %s are the same", front, other)
		}
		seen[d] = front
	}
	for _, id := range []backend.ID{"one", "two"} {
		b.launch(LaunchRequest{ID: id, Bottles: []string{"made"}})
	}
	mine := digest(guest("one"), LaunchRequest{})
	if mine == digest(guest("two"), LaunchRequest{}) {
		t.Error("two parents have the same child")
	}
	r, err := b.store.Read("one")
	if err != nil {
		t.Fatal(err)
	}
	in, err := inherited(r, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b.remake("one", *in, time.Minute)
	if mine != digest(guest("one"), LaunchRequest{}) {
		t.Error("the same launch is another one a while later")
	}
}

// TestChildOfNothing: a bottle without a way out names one of the operator's that
// has one and a budget for it.
func TestChildOfNothing(t *testing.T) {
	b, _ := fullBed(t)
	b.bottleFile("closed", "sub_bottles: {max: 1}")
	b.bottleFile("open", "egress: {routes: [{host: a.example.com, budget: {requests: 5}}]}")
	b.launch(LaunchRequest{ID: "closed", Bottles: []string{"closed"}})
	_, err := b.planAs(guest("closed"), LaunchRequest{Bottles: []string{"open"}})
	wantBeyond(t, err, "egress", "a.example.com")
	if _, err := b.planAs(guest("closed"), LaunchRequest{}); err != nil {
		t.Errorf("control: one like itself: %v", err)
	}
}
