package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// BeyondError names the first thing a policy may do, or may not be proven not
// to do, beyond its parent's.
type BeyondError struct {
	Host   string // of the route
	What   string // "host", "ports", "auth", "private", "git", "matches", "dlp", "response", "budget"
	Detail string // one clause
}

// Error implements error.
func (e *BeyondError) Error() string {
	return fmt.Sprintf("the route for %s goes beyond what the parent policy allows: %s; narrow it or leave it out", e.Host, e.Detail)
}

// Subset returns nil only when it is proven that child allows no request that
// parent does not allow; else a *BeyondError. What cannot be proven by a simple
// sound rule is refused, so that a narrower policy may have to be written more
// plainly.
//
// A route with auth is within the same auth only. Without it, the agent's own
// credential would travel, and plain HTTP would be allowed, neither of which
// the parent does. Auth.Slot is compared as it stands: policies that were
// rendered apart must hold the credentials' own names there.
//
// An address listed by itself in private allows more than a range around it
// does (see Private.Permits), so it needs the same entry in the parent.
//
// A budget counts for one route of one bottle, so all of the child's routes
// that one of the parent's decides must together stay within its budget.
func Subset(child, parent *Policy) error {
	return newProver().subset(child, parent)
}

// prover is the list of rules, each sound by itself. Tests take rules out to
// show that something would notice.
type prover struct {
	// deciders lists the parent's routes that decide some host which route i of
	// the child decides; false when there is a host that none does.
	deciders func(child, parent *Policy, i int) ([]int, bool)
	routes   []routeRule
	matches  []matchRule
	paths    func(child, parent *pathRule) bool
	// spendFreely leaves budgets out of the proof.
	spendFreely bool
}

type routeRule struct {
	what string
	// holds returns a clause of what is beyond, "" when nothing is.
	holds func(child, parent *route) string
}

type matchRule struct {
	what  string
	holds func(child, parent *match) bool
}

func newProver() *prover {
	pr := &prover{deciders: deciders, paths: pathWithin}
	pr.matches = []matchRule{
		{"methods", methodsWithin},
		{"paths", pr.pathsWithin},
		{"headers", headersWithin},
	}
	pr.routes = []routeRule{
		{"auth", authWithin},
		{"ports", portsWithin},
		{"private", privateWithin},
		{"git", gitWithin},
		{"matches", pr.matchesWithin},
		{"dlp", dlpWithin},
		{"response", responseWithin},
	}
	return pr
}

func (pr *prover) subset(child, parent *Policy) error {
	uses := spending{}
	for i := range child.routes {
		c := &child.routes[i]
		rivals, ok := pr.deciders(child, parent, i)
		if !ok {
			return &BeyondError{Host: c.in.Host, What: "host", Detail: "no route there allows this host"}
		}
		for _, j := range rivals {
			if err := pr.routeWithin(c, &parent.routes[j]); err != nil {
				return err
			}
			if detail := uses.add(c, &parent.routes[j], j); detail != "" && !pr.spendFreely {
				return &BeyondError{Host: c.in.Host, What: "budget", Detail: detail}
			}
		}
	}
	return nil
}

func (pr *prover) routeWithin(c, q *route) error {
	for _, rule := range pr.routes {
		if detail := rule.holds(c, q); detail != "" {
			if c.in.Host != q.in.Host {
				detail += fmt.Sprintf(" (its route for %s)", q.in.Host)
			}
			return &BeyondError{Host: c.in.Host, What: rule.what, Detail: detail}
		}
	}
	return nil
}

// deciders: for a name it is the one route that decides it. For a wildcard it
// is the wildcard as wide or wider, for the countless names that nothing else
// names, and every route below that decides hosts which the child has no more
// specific route for.
func deciders(child, parent *Policy, i int) ([]int, bool) {
	host := child.routes[i].in.Host
	suffix, wildcard := strings.CutPrefix(host, "*.")
	if !wildcard {
		if j, ok := parent.Find(host); ok {
			return []int{j}, true
		}
		return nil, false
	}
	base, ok := parent.covering(suffix)
	if !ok {
		return nil, false
	}
	out := []int{base}
	for j := range parent.routes {
		inner, wild := strings.CutPrefix(parent.routes[j].in.Host, "*.")
		if !strings.HasSuffix(inner, "."+suffix) {
			continue
		}
		find := child.Find
		if wild {
			find = child.covering
		}
		if k, ok := find(inner); ok && k == i {
			out = append(out, j)
		}
	}
	return out, true
}

func authWithin(c, q *route) string {
	switch {
	case c.in.Auth == nil && q.in.Auth == nil:
		return ""
	case c.in.Auth == nil:
		return "requests would go without the parent's credential, with the agent's own or over plain http"
	case q.in.Auth == nil:
		return "it injects a credential and the parent does not"
	case c.in.Auth.Scheme != q.in.Auth.Scheme, c.in.Auth.Header != q.in.Auth.Header, c.in.Auth.Slot != q.in.Auth.Slot:
		return "it injects another credential than the parent"
	}
	return pinWithin(c.in.Auth.Pin, q.in.Auth.Pin)
}

// portsWithin compares pairs of scheme and port.
func portsWithin(c, q *route) string {
	for _, scheme := range []string{schemeHTTPS, schemeHTTP} {
		ports := c.in.Ports
		if len(ports) == 0 {
			ports = []int{defaultPort(scheme)}
		}
		for _, port := range ports {
			if c.serves(scheme, port) && !q.serves(scheme, port) {
				return fmt.Sprintf("%s on port %d", scheme, port)
			}
		}
	}
	return ""
}

func privateWithin(c, q *route) string {
	for _, p := range c.private {
		within := func(o netip.Prefix) bool {
			if p.IsSingleIP() || o.IsSingleIP() {
				return p == o
			}
			return o.Bits() <= p.Bits() && o.Contains(p.Addr())
		}
		if !slices.ContainsFunc(q.private, within) {
			return fmt.Sprintf("the private addresses %s", p)
		}
	}
	return ""
}

func gitWithin(c, q *route) string {
	if c.in.GitFetch && !q.in.GitFetch {
		return "fetching with git"
	}
	return ""
}

// matchesWithin demands for each of the child's matches one of the parent's
// that contains it whole.
func (pr *prover) matchesWithin(c, q *route) string {
	if len(q.matches) == 0 {
		return ""
	}
	if len(c.matches) == 0 {
		return "every request, where the parent allows only " + matchesWords(q.in.Matches)
	}
	for i := range c.matches {
		within := func(o match) bool { return pr.matchWithin(&c.matches[i], &o) }
		if !slices.ContainsFunc(q.matches, within) {
			return "no match there is shown to contain " + matchWords(c.in.Matches[i])
		}
	}
	return ""
}

func (pr *prover) matchWithin(c, q *match) bool {
	for _, rule := range pr.matches {
		if !rule.holds(c, q) {
			return false
		}
	}
	return true
}
