package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// LocalHost answers questions about the proxy itself and cannot be a route.
const LocalHost = "_egress.local"

// Bounds of one policy. They keep a decision and a proof short, whoever wrote
// the policy.
const (
	maxRoutes  = 4096
	maxMatches = 64   // of one route
	maxPaths   = 64   // of one match
	maxMethods = 32   // of one match
	maxHeaders = 16   // of one match
	maxRules   = 8192 // path rules of all routes
	maxExprs   = 512  // regular expressions of all routes
)

// Policy is a validated list of routes. It never changes and may be used by
// any number of goroutines.
type Policy struct {
	routes []route
	exact  map[string]int
	suffix map[string]int // wildcards, by the suffix below which they match
	rules  int
	exprs  int
}

// route is one validated sidecars.Route.
type route struct {
	in      sidecars.Route
	private Private
	matches []match
}

// RouteError is one mistake in one route.
type RouteError struct {
	Index int    // of the route in the list
	Host  string // as given
	Err   error
}

// Error implements error.
func (e *RouteError) Error() string {
	return fmt.Sprintf("routes[%d] (host %.80q): %v", e.Index, e.Host, e.Err)
}

// Unwrap returns the mistake itself.
func (e *RouteError) Unwrap() error { return e.Err }

// Compile validates the routes. Its error joins a *RouteError for every
// mistake found. Auth is taken as a reference and not judged.
func Compile(routes []sidecars.Route) (*Policy, error) {
	if len(routes) > maxRoutes {
		return nil, fmt.Errorf("%d routes, but at most %d are allowed", len(routes), maxRoutes)
	}
	p := &Policy{exact: map[string]int{}, suffix: map[string]int{}}
	var faults []error
	for i, in := range routes {
		for _, err := range p.add(in) {
			faults = append(faults, &RouteError{Index: i, Host: in.Host, Err: err})
		}
	}
	if p.rules > maxRules || p.exprs > maxExprs {
		faults = append(faults, fmt.Errorf("the routes hold %d path rules, %d of them regular expressions, but at most %d and %d are allowed; use prefixes",
			p.rules, p.exprs, maxRules, maxExprs))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return p, nil
}

func (p *Policy) add(in sidecars.Route) []error {
	r := route{in: cloneRoute(in)}
	faults := checkPorts(in.Ports)
	var err []error
	r.private, err = parsePrivate(in.Private)
	faults = append(faults, err...)
	r.matches, err = p.compileMatches(r.in.Matches)
	faults = append(faults, err...)
	faults = append(faults, checkRules(in)...)

	names, key := p.exact, in.Host
	if below, ok := strings.CutPrefix(in.Host, "*."); ok {
		names, key = p.suffix, below
	}
	if err := checkHost(in.Host, r.private); err != nil {
		return append(faults, err)
	}
	if _, ok := names[key]; ok {
		return append(faults, errors.New("this host has a route already; merge the two"))
	}
	names[key] = len(p.routes)
	p.routes = append(p.routes, r)
	return faults
}

// Routes returns a copy of the routes, in their order.
func (p *Policy) Routes() []sidecars.Route {
	out := make([]sidecars.Route, len(p.routes))
	for i := range p.routes {
		out[i] = cloneRoute(p.routes[i].in)
	}
	return out
}

// Find returns the index of the route that decides a host, which is in the
// form that ParseHost returns.
func (p *Policy) Find(host string) (int, bool) {
	if i, ok := p.exact[host]; ok {
		return i, true
	}
	if NumericHost(host) {
		return 0, false // no wildcard covers an address
	}
	_, below, ok := strings.Cut(host, ".")
	if !ok {
		return 0, false
	}
	return p.covering(below)
}

// Containing returns the index of the route that takes in a host, as Find does,
// or every host of a wildcard.
func (p *Policy) Containing(host string) (int, bool) {
	if below, wildcard := strings.CutPrefix(host, "*."); wildcard {
		return p.covering(below)
	}
	return p.Find(host)
}

// covering returns the longest wildcard that takes in every host below suffix.
func (p *Policy) covering(suffix string) (int, bool) {
	for ok := true; ok; {
		if i, found := p.suffix[suffix]; found {
			return i, true
		}
		_, suffix, ok = strings.Cut(suffix, ".")
	}
	return 0, false
}

// Private returns the addresses that are not public which a route may be
// dialled at.
func (p *Policy) Private(route int) Private { return p.routes[route].private }

// Private lists address ranges that are not public.
type Private []netip.Prefix

// Permits reports whether a is listed. With exact it must be listed by itself:
// a wide range is seldom meant to include the addresses where clouds hand out
// credentials, or those of the machine the proxy runs on.
func (l Private) Permits(a netip.Addr, exact bool) bool {
	for _, p := range l {
		if p.Contains(a) && (!exact || p.IsSingleIP()) {
			return true
		}
	}
	return false
}

// serves reports whether the route lets a scheme reach a port. Where a
// credential is injected, only https may: it must never travel in the clear.
func (r *route) serves(scheme string, port int) bool {
	if scheme == schemeHTTP && r.in.Auth != nil {
		return false
	}
	if len(r.in.Ports) > 0 {
		return slices.Contains(r.in.Ports, port)
	}
	return port == defaultPort(scheme)
}

func defaultPort(scheme string) int {
	if scheme == schemeHTTP {
		return 80
	}
	return 443
}

func cloneRoute(r sidecars.Route) sidecars.Route {
	r.Ports, r.Private, r.Matches = slices.Clone(r.Ports), slices.Clone(r.Private), slices.Clone(r.Matches)
	r.Auth, r.DLP, r.Budget, r.Response = clone(r.Auth), clone(r.DLP), clone(r.Budget), clone(r.Response)
	if r.Auth != nil && r.Auth.Pin != nil {
		pin := *r.Auth.Pin
		pin.Query, pin.Headers, pin.AllowQuery = slices.Clone(pin.Query), slices.Clone(pin.Headers), slices.Clone(pin.AllowQuery)
		r.Auth.Pin = &pin
	}
	if r.DLP != nil {
		r.DLP.Outbound, r.DLP.Inbound = slices.Clone(r.DLP.Outbound), slices.Clone(r.DLP.Inbound)
	}
	if r.Response != nil {
		r.Response.Types = slices.Clone(r.Response.Types)
	}
	for i, m := range r.Matches {
		r.Matches[i] = sidecars.Match{Paths: slices.Clone(m.Paths), Methods: slices.Clone(m.Methods), Headers: slices.Clone(m.Headers)}
	}
	return r
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
