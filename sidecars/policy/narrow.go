package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// NarrowRequest asks for less than a policy allows.
type NarrowRequest struct {
	// Hosts, when not nil, keeps these only: names or wildcards that the policy
	// allows, as whole routes or as a part of a wildcard's.
	Hosts []string
	// Paths and Methods, by host as in Hosts, are what is kept of that route. A
	// more specific route below a wildcard is not touched by the wildcard's
	// entry.
	Paths   map[string][]sidecars.PathMatch
	Methods map[string][]string
}

// NarrowError is one thing a request asked for that cannot be had.
type NarrowError struct {
	Field   string // "hosts", "paths" or "methods"
	Host    string
	Problem string
	Allowed []string // hosts, where one was not allowed
}

// Error implements error.
func (e *NarrowError) Error() string { return fmt.Sprintf("%s: %.80q: %s", e.Field, e.Host, e.Problem) }

// maxAllowed bounds NarrowError.Allowed.
const maxAllowed = 20

// Narrow returns the routes that are left of parent. They are a proven subset
// of it: with a wildcard, the more specific routes below it are kept, since
// without them the wildcard would decide their hosts. Credentials, ports,
// addresses and git stay as they are: a narrowed method does not take fetching
// with git away. The error joins a *NarrowError for everything that cannot be
// had.
func Narrow(parent *Policy, req NarrowRequest) ([]sidecars.Route, error) {
	n := &narrowing{parent: parent, kept: map[string]sidecars.Route{}}
	n.hosts(req.Hosts)
	n.parts(req)
	if len(n.faults) > 0 {
		return nil, errors.Join(n.faults...)
	}
	routes := n.inOrder()
	child, err := Compile(routes)
	if err != nil {
		return nil, fmt.Errorf("narrow the policy: %w", err)
	}
	err = Subset(child, parent)
	var beyond *BeyondError
	switch {
	case err == nil:
		return child.Routes(), nil
	case errors.As(err, &beyond) && beyond.What == "budget":
		// The one thing that narrowing can exceed: a wildcard's budget, once for
		// each of its hosts.
		return nil, &NarrowError{Field: "hosts", Host: beyond.Host, Problem: "the wildcard that allows it has a budget, which cannot be shared among several entries; ask for one host below it, or for the wildcard alone"}
	}
	return nil, fmt.Errorf("narrow the policy: %w", err)
}

type narrowing struct {
	parent *Policy
	kept   map[string]sidecars.Route
	faults []error
}

func (n *narrowing) fail(field, host, format string, args ...any) {
	n.faults = append(n.faults, &NarrowError{Field: field, Host: host, Problem: fmt.Sprintf(format, args...)})
}

func (n *narrowing) hosts(only []string) {
	if only == nil {
		for _, r := range n.parent.Routes() {
			n.kept[r.Host] = r
		}
		return
	}
	for _, name := range only {
		host, ok := n.host("hosts", name)
		if !ok {
			continue
		}
		i, ok := n.parent.Containing(host)
		if !ok {
			n.notAllowed("hosts", name)
			continue
		}
		n.keep(host, i)
	}
}

// host brings a name into the form of a route's.
func (n *narrowing) host(field, name string) (string, bool) {
	host := strings.ToLower(strings.TrimSpace(name))
	below, wildcard := strings.CutPrefix(host, "*.")
	_, err := ParseHost(below)
	if err == nil && wildcard {
		err = checkWildcard(below)
	}
	if err != nil {
		n.fail(field, name, "it is not a host: %v", err)
	}
	return strings.TrimSuffix(host, "."), err == nil
}

func (n *narrowing) notAllowed(field, name string) {
	e := &NarrowError{Field: field, Host: name, Problem: "the policy does not allow this host, and a request can only narrow it"}
	for _, r := range n.parent.routes[:min(maxAllowed, len(n.parent.routes))] {
		e.Allowed = append(e.Allowed, r.in.Host)
	}
	n.faults = append(n.faults, e)
}

// keep takes route i for host, and what is more specific below it.
func (n *narrowing) keep(host string, i int) {
	r := cloneRoute(n.parent.routes[i].in)
	r.Host = host
	n.kept[host] = r
	below, wildcard := strings.CutPrefix(host, "*.")
	if !wildcard {
		return
	}
	for i := range n.parent.routes {
		in := n.parent.routes[i].in
		if name := strings.TrimPrefix(in.Host, "*."); strings.HasSuffix(name, "."+below) {
			n.kept[in.Host] = cloneRoute(in)
		}
	}
}

// parts narrows paths and methods of single hosts.
func (n *narrowing) parts(req NarrowRequest) {
	wanted := map[string]sidecars.Match{}
	fields := map[string]string{} // for the error about a host
	for name, paths := range req.Paths {
		if host, ok := n.host("paths", name); ok {
			wanted[host], fields[host] = sidecars.Match{Paths: slices.Clone(paths)}, "paths"
			if len(paths) == 0 {
				n.fail("paths", name, "the list is empty; leave the host out of hosts to drop it")
			}
		}
	}
	for name, methods := range req.Methods {
		if host, ok := n.host("methods", name); ok {
			wanted[host] = sidecars.Match{Paths: wanted[host].Paths, Methods: upper(methods)}
			fields[host] = "methods"
			if len(methods) == 0 {
				n.fail("methods", name, "the list is empty; leave the host out of hosts to drop it")
			}
		}
	}
	if len(n.faults) > 0 {
		return
	}
	for _, host := range slices.Sorted(maps.Keys(wanted)) {
		if n.reach(fields[host], host) {
			n.part(host, wanted[host])
		}
	}
}

func upper(methods []string) []string {
	var out []string
	for _, m := range methods {
		out = append(out, strings.ToUpper(m))
	}
	return out
}

// reach makes sure that host has a route of its own among those kept.
func (n *narrowing) reach(field, host string) bool {
	if _, ok := n.kept[host]; ok {
		return true
	}
	if i, ok := n.parent.Containing(host); ok && n.covers(host) {
		n.keep(host, i)
		return true
	}
	n.notAllowed(field, host)
	return false
}

// covers reports whether a wildcard that is kept takes in host.
func (n *narrowing) covers(host string) bool {
	name := strings.TrimPrefix(host, "*.")
	for kept := range n.kept {
		if below, wildcard := strings.CutPrefix(kept, "*."); wildcard && strings.HasSuffix(name, "."+below) {
			return true
		}
	}
	return false
}

// part narrows one route's matches to what is wanted of them.
func (n *narrowing) part(host string, want sidecars.Match) {
	before := len(n.faults)
	for i, m := range want.Methods {
		if err := checkMethod(m, want.Methods[:i]); err != nil {
			n.fail("methods", host, "%.40q: %v", m, err)
		}
	}
	c := &cut{want: want}
	scratch := &Policy{} // counts what is compiled for this alone
	for i := range want.Paths {
		rule, err := scratch.compilePath(&want.Paths[i])
		if err != nil {
			n.fail("paths", host, "%.80q: %v", want.Paths[i].Value, err)
		}
		c.rules = append(c.rules, rule)
	}
	if len(n.faults) > before {
		return
	}
	r := n.kept[host]
	if len(r.Matches) == 0 {
		r.Matches = []sidecars.Match{want}
	} else {
		have, _ := scratch.compileMatches(r.Matches) // of the policy, which compiled
		r.Matches = n.intersect(host, c, have, r.Matches)
	}
	n.kept[host] = r
}

func (n *narrowing) intersect(host string, c *cut, have []match, in []sidecars.Match) []sidecars.Match {
	var out []sidecars.Match
	for i := range have {
		if m, ok := c.of(&have[i], in[i]); ok {
			out = append(out, m)
		}
	}
	for i, p := range c.want.Paths {
		if !slices.Contains(c.pathsMet, i) {
			n.fail("paths", host, "%s is not allowed there, or not with these methods; allowed is %s", pathWords(p), matchesWords(in))
		}
	}
	for _, m := range c.want.Methods {
		if !slices.Contains(c.methodsMet, m) {
			n.fail("methods", host, "%s is not allowed there, or not on these paths; allowed is %s", m, matchesWords(in))
		}
	}
	return out
}

// inOrder lists the kept routes as the policy does, and new ones after.
func (n *narrowing) inOrder() []sidecars.Route {
	out := []sidecars.Route{}
	for i := range n.parent.routes {
		host := n.parent.routes[i].in.Host
		if r, ok := n.kept[host]; ok {
			out = append(out, r)
			delete(n.kept, host)
		}
	}
	for _, host := range slices.Sorted(maps.Keys(n.kept)) {
		out = append(out, n.kept[host])
	}
	return out
}
