package policy

import (
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// generator makes policies and requests from an alphabet so small that they
// meet all the time.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) *generator {
	return &generator{rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15))}
}

func one[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// some draws up to most different entries, at least one.
func some[T any](g *generator, most int, from ...T) []T {
	out := make([]T, 0, most)
	for _, i := range g.Perm(len(from))[:1+g.IntN(most)] {
		out = append(out, from[i])
	}
	return out
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g *generator) host() string {
	return one(g, "*.ex.test", "*.ex.test", "*.a.ex.test", "*.b.a.ex.test", "ex.test", "x.ex.test", "a.ex.test", "x.a.ex.test", "x.b.a.ex.test", "y.test", "10.0.0.1")
}

var privateLists = [][]string{{"10.0.0.0/8"}, {"10.0.0.0/16"}, {"10.0.0.1"}, {"10.0.0.1/32", "10.1.0.0/16"}, {"fd00::/8"}, {"fd00::1"}, {"10.0.0.0/31"}}

func (g *generator) route() sidecars.Route {
	r := sidecars.Route{Host: g.host(), GitFetch: g.chance(30)}
	if g.chance(40) {
		r.Ports = some(g, 2, 80, 443, 8443)
	}
	if g.chance(25) {
		r.Auth = &sidecars.Auth{Scheme: one(g, "Bearer", "token"), Slot: one(g, "A", "B")}
		if g.chance(20) {
			r.Auth.Scheme, r.Auth.Header = sidecars.SchemeHeader, one(g, "X-Key", "X-Token")
		}
	}
	if g.chance(20) {
		g.rules(&r)
	}
	if g.chance(40) {
		r.Private = one(g, privateLists...)
	}
	if r.Host == "10.0.0.1" {
		r.Private = append([]string{"10.0.0.1"}, one(g, nil, []string{"10.0.0.0/8"})...)
	}
	if g.chance(75) {
		for range 1 + g.IntN(3) {
			r.Matches = append(r.Matches, g.match())
		}
	}
	return r
}

// rules draws what a route says beyond which requests it allows.
func (g *generator) rules(r *sidecars.Route) {
	r.DLP = one(g, nil, &sidecars.DLP{Outbound: []string{}}, &sidecars.DLP{Outbound: []string{sidecars.DetectKnownSecrets}},
		&sidecars.DLP{Outbound: []string{sidecars.DetectTokenPatterns, sidecars.DetectKnownSecrets, sidecars.DetectEntropy}, OnMatch: sidecars.OnMatchBlock},
		&sidecars.DLP{Inbound: []string{}}, &sidecars.DLP{OnMatch: sidecars.OnMatchRedact})
	r.Budget = one(g, nil, &sidecars.Budget{Requests: 10}, &sidecars.Budget{Requests: 20, BytesOut: 5}, &sidecars.Budget{PerMinute: 3})
	r.Response = one(g, nil, &sidecars.ResponseRules{MaxBytes: 5}, &sidecars.ResponseRules{Types: []string{"text/*"}},
		&sidecars.ResponseRules{MaxBytes: 10, Types: []string{"text/html", "application/json"}})
}

var expressions = []string{`/a/.*`, `/a(/.*)?`, `/a.*`, `/a|/b`, `/a/(b|c)`, `(?i)/a/b`, `/a/[^/]+`, `.*`, `/(a|ab)/b`, `/a/b$|/a/c`, `a`, `/a/\S*b`, `/[ab]`}

func (g *generator) path() sidecars.PathMatch {
	switch g.IntN(3) {
	case 0:
		return sidecars.PathMatch{Type: sidecars.MatchExact, Value: one(g, "/", "/a", "/a/", "/a/b", "/ab", "/b", "/a/b/c", "/A/B")}
	case 1:
		return sidecars.PathMatch{Type: sidecars.MatchPrefix, Value: one(g, "/", "/a", "/a/", "/a/b", "/ab", "/b", "/A")}
	}
	return sidecars.PathMatch{Type: sidecars.MatchRegex, Value: one(g, expressions...)}
}

// neighbour looks as if it were narrower, and sometimes is.
func (g *generator) neighbour(p sidecars.PathMatch) sidecars.PathMatch {
	v := strings.TrimSuffix(p.Value, "/")
	if v == "" {
		v = "/a"
	}
	if p.Type == sidecars.MatchRegex {
		return sidecars.PathMatch{Type: sidecars.MatchRegex, Value: v + one(g, "b", "/b", "(/b)?")}
	}
	if g.chance(50) {
		return sidecars.PathMatch{Type: sidecars.MatchRegex, Value: v + one(g, ".*", "/.*", "(/.*)?", "b?", "[/b]+")}
	}
	return sidecars.PathMatch{Type: one(g, sidecars.MatchExact, sidecars.MatchPrefix), Value: v + one(g, "b", "/b")}
}

func (g *generator) header() sidecars.HeaderMatch {
	if g.chance(30) {
		return sidecars.HeaderMatch{Name: one(g, "X-A", "x-b"), Type: sidecars.MatchRegex, Value: one(g, "1|2", "1", ".*")}
	}
	return sidecars.HeaderMatch{Name: one(g, "X-A", "x-a", "X-B"), Type: one(g, "", sidecars.MatchExact), Value: one(g, "1", "2")}
}

func (g *generator) match() sidecars.Match {
	for {
		var m sidecars.Match
		if g.chance(65) {
			for range 1 + g.IntN(2) {
				m.Paths = append(m.Paths, g.path())
			}
		}
		if g.chance(60) {
			m.Methods = some(g, 2, "GET", "POST", "DELETE")
		}
		if g.chance(30) {
			m.Headers = []sidecars.HeaderMatch{g.header()}
			if h := g.header(); g.chance(30) && !strings.EqualFold(h.Name, m.Headers[0].Name) {
				m.Headers = append(m.Headers, h)
			}
		}
		if len(m.Paths)+len(m.Methods)+len(m.Headers) > 0 {
			return m
		}
	}
}

// routes makes a valid policy.
func (g *generator) routes() []sidecars.Route {
	var out []sidecars.Route
	seen := map[string]bool{}
	for range 1 + g.IntN(4) {
		if r := g.route(); !seen[r.Host] {
			seen[r.Host] = true
			out = append(out, r)
		}
	}
	return out
}

// mutate changes a few things of routes, in either direction. Most results
// differ from a subset by little, if at all.
func (g *generator) mutate(in []sidecars.Route) []sidecars.Route {
	var out []sidecars.Route
	seen := map[string]bool{}
	for _, r := range in {
		r = cloneRoute(r)
		for range one(g, 0, 1, 1, 1, 2) {
			g.change(&r)
		}
		if !seen[r.Host] && !g.chance(10) {
			seen[r.Host] = true
			out = append(out, r)
		}
	}
	if r := g.route(); len(out) == 0 || !seen[r.Host] && g.chance(10) {
		out = append(out, r)
	}
	return out
}

func (g *generator) change(r *sidecars.Route) {
	fresh := g.route()
	switch g.IntN(9) {
	case 8:
		g.rules(r)
	case 0:
		r.Ports = fresh.Ports
	case 1:
		if g.chance(30) {
			r.Auth = fresh.Auth
		}
	case 2:
		if r.Host != "10.0.0.1" {
			r.Private = one(g, privateLists...)
		}
	case 3:
		r.GitFetch = fresh.GitFetch
	case 4:
		if r.Host != "10.0.0.1" && fresh.Host != "10.0.0.1" {
			r.Host = fresh.Host
		}
	case 5:
		r.Matches = fresh.Matches
	default:
		if len(r.Matches) > 0 {
			g.changeMatch(&r.Matches[g.IntN(len(r.Matches))])
		}
	}
}

func (g *generator) changeMatch(m *sidecars.Match) {
	fresh := g.match()
	switch g.IntN(6) {
	case 0:
		m.Paths = fresh.Paths
	case 1:
		m.Methods = fresh.Methods
	case 2:
		m.Headers = fresh.Headers
	default:
		if len(m.Paths) > 0 {
			p := &m.Paths[g.IntN(len(m.Paths))]
			*p = one(g, g.path(), g.neighbour(*p))
		}
	}
	if len(m.Paths)+len(m.Methods)+len(m.Headers) == 0 {
		*m = fresh
	}
}

// probe is a request, and the address its host resolves to.
type probe struct {
	Request
	addr  netip.Addr
	exact bool // the address is this machine's own, or a cloud's metadata
	// own says that the agent sends a credential of its own.
	own bool
	// secret is the detector that would find something in the request; "" = none.
	secret string
	// kind and size are the answer's.
	kind string
	size int64
}

// allowed is all that the proxy decides by, up to the dialling. What the
// decision itself does not say is put beside it: the credential that the
// server sees, and what a scan makes of the request.
func (p *Policy) allowed(q probe) (allow bool, credential, scan string) {
	d := p.Decide(q.Request)
	if !d.Allow {
		return false, "", ""
	}
	if private := q.addr.IsPrivate(); (private || q.exact) && !p.Private(d.Route).Permits(q.addr, q.exact) {
		return false, "", ""
	}
	r := &p.routes[d.Route]
	if scan = r.scan(q.secret); scan == sidecars.OnMatchBlock || !r.answers(q.kind, q.size) {
		return false, "", ""
	}
	if auth := r.in.Auth; auth != nil {
		return true, auth.Scheme + auth.Header + " " + auth.Slot, scan
	}
	if q.own {
		return true, "own", scan
	}
	return true, "", scan
}

// unseen is a request in which no scan finds anything.
const unseen = "passes unseen"

func (r *route) scan(secret string) string {
	if d := dlpOf(r); secret != "" && slices.Contains(d.Outbound, secret) {
		return d.OnMatch
	}
	return unseen
}

func (r *route) answers(kind string, size int64) bool {
	a := r.in.Response
	if a == nil {
		return true
	}
	top, _, _ := strings.Cut(kind, "/")
	return (a.MaxBytes == 0 || size <= a.MaxBytes) && (len(a.Types) == 0 || slices.Contains(a.Types, kind) || slices.Contains(a.Types, top+"/*"))
}

// aim lets a request resemble what a match wants.
func (g *generator) aim(q *probe, m sidecars.Match) {
	if len(m.Methods) > 0 {
		q.Method = one(g, m.Methods...)
	}
	if len(m.Paths) > 0 {
		if p := one(g, m.Paths...); p.Type != sidecars.MatchRegex {
			q.RawPath = p.Value + one(g, "", "", "/b", "b")
		} else {
			q.RawPath = one(g, "/a", "/a/b", "/ab", "/abb", "/b", "/A/b")
		}
	}
	for _, h := range m.Headers {
		if h.Type != sidecars.MatchRegex {
			q.Header[http.CanonicalHeaderKey(h.Name)] = []string{h.Value}
		}
	}
}

// probe draws a request, most often for a host that one of the routes names.
func (g *generator) probe(routes []sidecars.Route) probe {
	q := probe{
		addr:  netip.MustParseAddr(one(g, "1.1.1.1", "1.1.1.1", "1.1.1.1", "1.1.1.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.1.0.1", "10.2.0.1", "fd00::1", "fd01::1")),
		exact: g.chance(15), own: g.chance(20),
		secret: one(g, "", sidecars.DetectTokenPatterns, sidecars.DetectKnownSecrets, sidecars.DetectEntropy),
		kind:   one(g, "text/html", "text/plain", "application/json"), size: int64(one(g, 1, 5, 6, 10, 11)),
	}
	q.Request = Request{
		Scheme: one(g, "https", "https", "https", "http"), Port: one(g, 443, 443, 80, 8443), Method: one(g, "GET", "GET", "POST", "DELETE", "PUT"),
		Host:    one(g, "x.ex.test", "y.ex.test", "a.ex.test", "x.a.ex.test", "y.a.ex.test", "x.b.a.ex.test", "y.b.a.ex.test", "b.a.ex.test", "ex.test", "y.test", "z.test", "10.0.0.1"),
		RawPath: one(g, "", "/", "/a", "/a", "/a/", "/a/b", "/a/b", "/a/b/c", "/a/c", "/ab", "/ab/b", "/b", "/b/a", "/A/B", "/A/b", "/%61/b", "/a%2Fb", "/a//b", "/a/../b", "/a/b;c", "/*"),
		Header:  http.Header{},
	}
	if len(routes) > 0 && g.chance(80) {
		r := one(g, routes...)
		q.Host = r.Host
		if below, wildcard := strings.CutPrefix(r.Host, "*"); wildcard {
			q.Host = one(g, "x", "y", "a", "x.a", "y.a", "b.a") + below
		}
		if len(r.Ports) > 0 && g.chance(80) {
			q.Port = r.Ports[0]
		}
		if len(r.Matches) > 0 && g.chance(60) {
			g.aim(&q, one(g, r.Matches...))
		}
	}
	if g.chance(20) {
		q.Header["X-A"] = some(g, one(g, 1, 1, 2), "1", "1", "2", "3")
	}
	if g.chance(20) {
		q.Header["X-B"] = []string{one(g, "1", "2", "3")}
	}
	switch g.IntN(20) {
	case 0:
		q.Header["X-Http-Method-Override"] = []string{one(g, "GET", "DELETE", "put")}
	case 1:
		q.RawQuery = "_method=" + one(g, "GET", "delete")
	case 2:
		q.Header["X-Original-Url"] = []string{"/b"}
	case 3:
		q.Header["Connection"] = []string{"X-A"}
	case 4:
		q.Header["X_a"] = []string{"1"}
	case 5, 6:
		q.Method, q.RawPath, q.RawQuery = "GET", strings.TrimSuffix(q.RawPath, "/")+"/info/refs", "service="+one(g, "git-upload-pack", "git-upload-pack", "git-receive-pack")
	case 7:
		q.Method, q.RawPath = "POST", strings.TrimSuffix(q.RawPath, "/")+"/git-upload-pack"
		q.Header["Content-Type"] = []string{"application/x-git-upload-pack-request"}
	case 8:
		q.Upgrade = "websocket"
	}
	return q
}
