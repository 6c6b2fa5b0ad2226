package provision

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// triplesEnv asks for more triples than the test's own number, as in the policy's
// test.
const triplesEnv = "BOTTLE_POLICY_TRIPLES"

// requestsPerPair is how many things are tried with each pair of grants.
const requestsPerPair = 20

func triples(t *testing.T) int {
	t.Helper()
	switch s := os.Getenv(triplesEnv); {
	case s != "":
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%s: %v", triplesEnv, err)
		}
		return n
	case testing.Short():
		return 40_000
	}
	return 1_000_000
}

// grants makes them from an alphabet so small that they meet all the time.
type grants struct{ *rand.Rand }

func newGrants(seed uint64) *grants { return &grants{rand.New(rand.NewPCG(seed, seed^0x5bd1e995))} }

func one[T any](g *grants, from ...T) T { return from[g.IntN(len(from))] }

func (g *grants) chance(percent int) bool { return g.IntN(100) < percent }

func (g *grants) route() manifest.Route {
	r := manifest.Route{Host: one(g, "a.test", "*.b.test", "x.b.test", "c.test"), GitFetch: g.chance(20)}
	if g.chance(30) {
		r.Auth = &manifest.Auth{Scheme: one(g, sidecars.SchemeBearer, sidecars.SchemeToken), TokenRef: one(g, "T1", "T2")}
	}
	if g.chance(30) {
		r.Ports = []int{one(g, 443, 8443)}
	}
	if g.chance(50) {
		r.Matches = []sidecars.Match{{
			Methods: one(g, nil, []string{"GET"}, []string{"GET", "POST"}),
			Paths:   []sidecars.PathMatch{{Type: one(g, sidecars.MatchExact, sidecars.MatchPrefix), Value: one(g, "/", "/p", "/p/q")}},
		}}
	}
	if g.chance(20) {
		r.DLP = &sidecars.DLP{Outbound: one(g, nil, []string{}, []string{sidecars.DetectKnownSecrets})}
	}
	return r
}

func (g *grants) routes() []manifest.Route {
	var out []manifest.Route
	for range 1 + g.IntN(3) {
		if r := g.route(); !slices.ContainsFunc(out, func(o manifest.Route) bool { return o.Host == r.Host }) {
			out = append(out, r)
		}
	}
	return out
}

func (g *grants) env() map[string]manifest.EnvValue {
	out := map[string]manifest.EnvValue{}
	for range g.IntN(3) {
		out[one(g, "A", "B", "C")] = one(g, manifest.EnvValue{FromHost: "H1"}, manifest.EnvValue{FromHost: "H2"}, manifest.EnvValue{Literal: "1"}, manifest.EnvValue{Literal: "2"}, manifest.EnvValue{})
	}
	return out
}

func (g *grants) repos() map[string]manifest.Repo {
	out := map[string]manifest.Repo{}
	for range g.IntN(2) {
		out[one(g, "r", "s")] = manifest.Repo{URL: one(g, "ssh://u", "ssh://v"), Key: manifest.RepoKey{Path: one(g, "/k1", "/k2")}}
	}
	return out
}

func (g *grants) limits() backend.Limits {
	return backend.Limits{CPUs: one(g, 0, 0.5, 1, 2), MemoryBytes: one[int64](g, 0, 100, 200), DiskBytes: one[int64](g, 0, 100, 200), PIDs: one(g, 0, 10, 20)}
}

func (g *grants) grant() Grant {
	return Grant{
		Routes: g.routes(), Env: g.env(), Repos: g.repos(), Supervise: g.chance(50), Publish: one(g, nil, nil, nil, []int{80}),
		SubBottles: manifest.SubBottles{Max: g.IntN(4), Depth: g.IntN(4)}, Limits: g.limits(), TTL: time.Duration(g.IntN(4)),
		Backend: one(g, "linux", "linux", "other"), Isolation: one(g, "namespace", "gvisor", "vm"),
	}
}

// child differs from what a child may be in a thing or two, in either direction.
func (g *grants) child(parent Grant) Grant {
	c := parent
	c.Routes, c.Env, c.Repos, c.Publish = slices.Clone(parent.Routes), maps.Clone(parent.Env), maps.Clone(parent.Repos), nil
	c.SubBottles.Depth = generations(parent.SubBottles) - 1
	if c.SubBottles.Depth <= 0 {
		c.SubBottles = manifest.SubBottles{}
	}
	fresh := g.grant()
	for range one(g, 0, 1, 1, 1, 2) {
		switch g.IntN(11) {
		case 0:
			c.Routes = fresh.Routes
		case 1:
			i := g.IntN(len(c.Routes))
			host := c.Routes[i].Host
			c.Routes[i] = fresh.Routes[0]
			c.Routes[i].Host = host
		case 2:
			c.Env = fresh.Env
		case 3:
			c.Repos = fresh.Repos
		case 4:
			c.Supervise = fresh.Supervise
		case 5:
			c.Publish = fresh.Publish
		case 6:
			c.SubBottles = fresh.SubBottles
		case 7:
			c.Limits = fresh.Limits
		case 8:
			c.TTL = fresh.TTL
		case 9:
			c.Backend = fresh.Backend
		case 10:
			c.Isolation = fresh.Isolation
		}
	}
	return c
}

// deed is something that a bottle tries. Exactly one part is set.
type deed struct {
	request  *policy.Request
	hostVar  string
	text     [2]string // variable and value
	repo     *manifest.Repo
	repoName string
	ask      bool
	publish  bool
	distance int // a descendant of the parent's at this distance
	brood    int // so many bottles of its own at one time
	amount   *backend.Limits
	age      time.Duration
	hole     string // in the wall around it
}

func (g *grants) deed(child Grant) deed {
	switch g.IntN(16) {
	case 0:
		return deed{hostVar: one(g, "H1", "H2")}
	case 1:
		return deed{text: [2]string{one(g, "A", "B", "C"), one(g, "1", "2", "")}}
	case 2:
		return deed{repoName: one(g, "r", "s"), repo: &manifest.Repo{URL: one(g, "ssh://u", "ssh://v"), Key: manifest.RepoKey{Path: one(g, "/k1", "/k2")}}}
	case 3:
		return deed{ask: true}
	case 4:
		return deed{publish: true}
	case 5, 6:
		return deed{distance: 1 + g.IntN(4)}
	case 7:
		return deed{brood: 1 + g.IntN(3)}
	case 8, 9:
		l := one(g, backend.Limits{CPUs: one(g, 0.5, 1, 3)}, backend.Limits{MemoryBytes: one[int64](g, 50, 150, 250)}, backend.Limits{DiskBytes: one[int64](g, 50, 150, 250)}, backend.Limits{PIDs: one(g, 5, 15, 25)})
		return deed{amount: &l}
	case 10:
		return deed{age: time.Duration(1 + g.IntN(3))}
	case 11:
		return deed{hole: one(g, "linux:", "other:") + one(g, "kernel", "sentry", "hypervisor")}
	}
	host := one(g, "a.test", "x.b.test", "y.b.test", "c.test")
	if len(child.Routes) > 0 && g.chance(50) {
		if h := one(g, child.Routes...).Host; h[0] != '*' {
			host = h
		}
	}
	return deed{request: &policy.Request{
		Scheme: one(g, "https", "https", "http"), Host: host, Port: one(g, 443, 443, 80, 8443), Method: one(g, "GET", "GET", "POST", "PUT"),
		RawPath: one(g, "/", "/p", "/p/q", "/pq"), RawQuery: "",
	}}
}

// holes are what an attacker finds in a class's wall. A guest of gVisor meets less
// of the same kernel.
func holes(g Grant) []string {
	h := map[string][]string{"namespace": {"kernel", "sentry"}, "gvisor": {"sentry"}, "vm": {"hypervisor"}}[g.Isolation]
	var out []string
	for _, hole := range h {
		out = append(out, g.Backend+":"+hole)
	}
	return out
}

// can reports whether a bottle can do it, and with which credential. child says
// that it is the one that is launched, so that what is its own counts one
// generation further from the parent, and that no port may be its own.
func can(g Grant, p *policy.Policy, d deed, child bool) (able bool, credential string) {
	switch {
	case d.request != nil:
		decision := p.Decide(*d.request)
		if !decision.Allow {
			return false, ""
		}
		if auth := p.Routes()[decision.Route].Auth; auth != nil {
			credential = auth.Scheme + " " + auth.Slot
		}
		return true, credential
	case d.hostVar != "":
		return slices.ContainsFunc(slices.Collect(maps.Values(g.Env)), func(v manifest.EnvValue) bool { return v.FromHost == d.hostVar }), ""
	case d.text[0] != "":
		v, ok := g.Env[d.text[0]]
		return ok && v == manifest.EnvValue{Literal: d.text[1]}, ""
	case d.repo != nil:
		r, ok := g.Repos[d.repoName]
		return ok && r == *d.repo, ""
	case d.ask:
		return g.Supervise, ""
	case d.publish:
		return child && len(g.Publish) > 0, ""
	case d.distance > 0 && child:
		return d.distance-1 <= generations(g.SubBottles), ""
	case d.distance > 0:
		return d.distance <= generations(g.SubBottles), ""
	case d.brood > 0:
		return d.brood <= g.SubBottles.Max, ""
	case d.amount != nil:
		bounds := resourcesOf(g.Limits)
		for i, r := range resourcesOf(*d.amount) {
			if r.value > 0 && bounds[i].value > 0 && r.value > bounds[i].value {
				return false, ""
			}
		}
		return true, ""
	case d.age > 0:
		return d.age <= g.TTL, ""
	}
	return slices.Contains(holes(g), d.hole), ""
}

// trials is what a run over random triples came to.
type trials struct {
	triples, proven, telling int
	broken                   string // the first triple that disproves a proof
}

// try draws triples until n are done or one disproves the rules.
func (rules attenuationRules) try(t *testing.T, seed uint64, n int) trials {
	t.Helper()
	g := newGrants(seed)
	var sum trials
	for sum.triples < n {
		parent := g.grant()
		child := g.child(parent)
		if g.chance(10) {
			child = g.grant()
		}
		pp, err := compileRoutes(parent.Routes)
		cp, cerr := compileRoutes(child.Routes)
		if err = errors.Join(err, cerr); err != nil {
			t.Fatal(err)
		}
		proven := len(rules.excesses(&child, &parent)) == 0
		for range requestsPerPair {
			sum.triples++
			d := g.deed(child)
			if !proven {
				continue
			}
			sum.proven++
			may, with := can(child, cp, d, true)
			if !may {
				continue
			}
			sum.telling++
			if does, as := can(parent, pp, d, false); !does || as != with {
				sum.broken = fmt.Sprintf("parent %+v\nchild  %+v\ndeed   %+v %+v", parent, child, d, d.request)
				return sum
			}
		}
	}
	return sum
}

// TestWithinIsSound is the promise of Within: nothing that a proven child can do is
// beyond its parent.
func TestWithinIsSound(t *testing.T) {
	sum := attenuation().try(t, 1, triples(t))
	if sum.broken != "" {
		t.Fatalf("the child may do what the parent may not:\n%s", sum.broken)
	}
	t.Logf("%d triples, %d of proven pairs, %d of them done by the child", sum.triples, sum.proven, sum.telling)
	if sum.proven < sum.triples/20 || sum.telling < sum.triples/100 {
		t.Errorf("the generator tells too little: %+v", sum)
	}
}

// Every rule is needed: without it, or with a careless one, the same triples find a
// child that may do more.
func TestGrantsFindBrokenRules(t *testing.T) {
	none := func(_, _ *Grant) error { return nil }
	broken := func(when bool) error {
		if when {
			return errors.New("beyond")
		}
		return nil
	}
	faults := map[string]struct {
		what   string
		excess func(c, p *Grant) error
	}{
		"any text": {"env", func(c, p *Grant) error {
			for name, v := range c.Env {
				if _, ok := p.Env[name]; v.FromHost != "" && !envWithin(name, v, p.Env) || !ok && v.FromHost == "" {
					return errors.New("beyond")
				}
			}
			return nil
		}},
		"host variables by the guest's name": {"env", func(c, p *Grant) error {
			for name := range c.Env {
				if _, ok := p.Env[name]; !ok {
					return errors.New("beyond")
				}
			}
			return nil
		}},
		"repositories by name": {"repositories", func(c, p *Grant) error {
			for name := range c.Repos {
				if _, ok := p.Repos[name]; !ok {
					return errors.New("beyond")
				}
			}
			return nil
		}},
		"as many generations": {"sub_bottles", func(c, p *Grant) error {
			return broken(generations(c.SubBottles) > generations(p.SubBottles) || c.SubBottles.Max > p.SubBottles.Max)
		}},
		"depth as it is written": {"sub_bottles", func(c, p *Grant) error {
			return broken(c.SubBottles.Depth > p.SubBottles.Depth || c.SubBottles.Max > p.SubBottles.Max)
		}},
		"zero is little": {"limits", func(c, p *Grant) error {
			return broken(c.Limits.CPUs > p.Limits.CPUs || c.Limits.MemoryBytes > p.Limits.MemoryBytes || c.Limits.DiskBytes > p.Limits.DiskBytes || c.Limits.PIDs > p.Limits.PIDs)
		}},
		"any class of the backend": {"isolation", func(c, _ *Grant) error { return broken(c.Isolation == "") }},
		"classes the other way round": {"isolation", func(c, p *Grant) error {
			return broken(c.Isolation != p.Isolation && !stronger(p.Isolation, c.Isolation))
		}},
	}
	for _, rule := range attenuation() {
		faults["no rule for "+rule.what] = struct {
			what   string
			excess func(c, p *Grant) error
		}{rule.what, none}
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			rules := attenuation()
			i := slices.IndexFunc(rules, func(r attenuationRule) bool { return r.what == fault.what })
			rules[i].excess = fault.excess
			sum := rules.try(t, 2, 400_000)
			if sum.broken == "" {
				t.Errorf("%d triples found nothing", sum.triples)
			}
			t.Logf("found after %d triples", sum.triples)
		})
	}
}

// TestWithinIsComplete: a proof must also be possible, of a child like its parent.
func TestWithinIsComplete(t *testing.T) {
	g := newGrants(3)
	proven := 0
	for range 5000 {
		parent := g.grant()
		if generations(parent.SubBottles) == 0 || parent.TTL == 0 {
			continue
		}
		child := parent
		child.Publish, child.SubBottles = nil, manifest.SubBottles{}
		if err := Within(child, parent); err != nil {
			t.Fatalf("%v\n%+v", err, parent)
		}
		proven++
	}
	if proven < 1000 {
		t.Errorf("only %d were tried", proven)
	}
}

func TestWithinSaysAll(t *testing.T) {
	err := Within(Grant{
		Routes: []manifest.Route{{Host: "z.test"}}, Env: map[string]manifest.EnvValue{"Z": {FromHost: "Z"}},
		Repos: map[string]manifest.Repo{"z": {}}, Supervise: true, Publish: []int{1}, SubBottles: manifest.SubBottles{Max: 9},
		Limits: backend.Limits{CPUs: 100}, TTL: 2, Backend: "z", Isolation: "z",
	}, Grant{TTL: 1, Limits: backend.Limits{CPUs: 1}, Backend: "linux", Isolation: "namespace"})
	for _, rule := range attenuation() {
		wantPart(t, err, rule.what)
	}
	var beyond *policy.BeyondError
	if !errors.As(err, &beyond) || beyond.Host != "z.test" {
		t.Errorf("the policy's own reason is lost: %v", err)
	}
}

func wantPart(t *testing.T, err error, what string) {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("error is %v", err)
	}
	for _, e := range joined.Unwrap() {
		var beyond *BeyondError
		if errors.As(e, &beyond) && beyond.What == what {
			return
		}
	}
	t.Errorf("error %v says nothing of %q", err, what)
}
