package policy

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// triplesEnv asks for more triples than the ordinary test's.
const triplesEnv = "BOTTLE_POLICY_TRIPLES"

// requestsPerPair is how many requests each pair of policies is tried with.
const requestsPerPair = 20

func triples(t *testing.T) int {
	t.Helper()
	s := os.Getenv(triplesEnv)
	if s == "" {
		return 100_000
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", triplesEnv, err)
	}
	return n
}

// tally is what a run over random triples came to.
type tally struct {
	triples, proven, telling int
	broken                   string // the first triple that disproves a proof
}

// try draws triples until n are done or one disproves pr. A triple is telling
// when the proof holds and the child allows the request.
func (pr *prover) try(t *testing.T, seed uint64, n int) tally {
	t.Helper()
	g := newGenerator(seed)
	var sum tally
	for sum.triples < n {
		parents := g.routes()
		children := g.mutate(parents)
		if g.chance(20) {
			children = g.routes()
		}
		parent, child := compile(t, parents...), compile(t, children...)
		proven := pr.subset(child, parent) == nil
		for range requestsPerPair {
			sum.triples++
			q := g.probe(children)
			may, credential, scan := child.allowed(q)
			if !proven {
				continue
			}
			sum.proven++
			if !may {
				continue
			}
			sum.telling++
			if does, with, own := parent.allowed(q); !does || with != credential || own != scan && own != unseen {
				sum.broken = describe(parents, children, q)
				return sum
			}
		}
	}
	return sum
}

func describe(parents, children []sidecars.Route, q probe) string {
	var b strings.Builder
	for _, r := range parents {
		b.WriteString("parent " + Words(r) + "\n")
	}
	for _, r := range children {
		b.WriteString("child  " + Words(r) + "\n")
	}
	b.WriteString(q.Method + " " + q.Scheme + "://" + q.Host + ":" + strconv.Itoa(q.Port) + q.RawPath + "?" + q.RawQuery + " at " + q.addr.String())
	return b.String()
}

// TestSubsetIsSound is the promise of Subset: not one request that a proven
// child allows is refused by its parent, or sent with another credential.
func TestSubsetIsSound(t *testing.T) {
	sum := newProver().try(t, 1, triples(t))
	if sum.broken != "" {
		t.Fatalf("the child may do what the parent may not:\n%s", sum.broken)
	}
	t.Logf("%d triples, %d of proven pairs, %d of them allowed by the child", sum.triples, sum.proven, sum.telling)
	if sum.proven < sum.triples/5 || sum.telling < sum.triples/100 {
		t.Errorf("the generator tells too little: %+v", sum)
	}
}

// Every rule is needed: without it the same triples find a child that may do
// more. A proof that nothing could break would prove nothing.
func TestGeneratorFindsBrokenProvers(t *testing.T) {
	faults := map[string]func(pr *prover){
		"only the covering wildcard": func(pr *prover) {
			whole := pr.deciders
			pr.deciders = func(child, parent *Policy, i int) ([]int, bool) {
				out, ok := whole(child, parent, i)
				return out[:min(1, len(out))], ok
			}
		},
		"more specific routes instead of the wildcard": func(pr *prover) {
			whole := pr.deciders
			pr.deciders = func(child, parent *Policy, i int) ([]int, bool) {
				out, ok := whole(child, parent, i)
				if len(out) > 1 {
					out = out[1:]
				}
				return out, ok
			}
		},
		"hosts nobody allows": func(pr *prover) {
			whole := pr.deciders
			pr.deciders = func(child, parent *Policy, i int) ([]int, bool) {
				if out, ok := whole(child, parent, i); ok {
					return out, true
				}
				return nil, true
			}
		},
		"prefixes by bytes": func(pr *prover) {
			pr.paths = func(c, q *pathRule) bool {
				return pathWithin(c, q) || q.kind == sidecars.MatchPrefix && c.kind == sidecars.MatchPrefix && strings.HasPrefix(c.value, q.value)
			}
		},
		"expressions by their first bytes": func(pr *prover) {
			pr.paths = func(c, q *pathRule) bool {
				return pathWithin(c, q) || q.kind == sidecars.MatchPrefix && c.expr != nil && strings.HasPrefix(c.value, q.value)
			}
		},
		"every expression within every other": func(pr *prover) {
			pr.paths = func(c, q *pathRule) bool { return pathWithin(c, q) || c.expr != nil && q.expr != nil }
		},
		"single addresses within ranges": func(pr *prover) {
			replaceRoute(pr, "private", func(c, q *route) string {
				for _, p := range c.private {
					if !q.private.Permits(p.Addr(), false) {
						return "beyond"
					}
				}
				return ""
			})
		},
		"a missing part is none": func(pr *prover) {
			replaceMatch(pr, "methods", func(c, q *match) bool { return len(c.methods) == 0 || methodsWithin(c, q) })
		},
		"a header is any header": func(pr *prover) {
			replaceMatch(pr, "headers", func(c, q *match) bool { return len(c.headers) >= len(q.headers) })
		},
	}
	for _, what := range []string{"auth", "ports", "private", "git", "matches", "dlp", "response"} {
		faults["no rule for "+what] = func(pr *prover) { replaceRoute(pr, what, func(_, _ *route) string { return "" }) }
	}
	for _, what := range []string{"methods", "paths", "headers"} {
		faults["no rule for "+what] = func(pr *prover) { replaceMatch(pr, what, func(_, _ *match) bool { return true }) }
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			pr := newProver()
			fault(pr)
			sum := pr.try(t, 2, 400_000)
			if sum.broken == "" {
				t.Errorf("%d triples found nothing", sum.triples)
			}
			t.Logf("found after %d triples", sum.triples)
		})
	}
}

func replaceRoute(pr *prover, what string, holds func(c, q *route) string) {
	i := slices.IndexFunc(pr.routes, func(r routeRule) bool { return r.what == what })
	pr.routes[i].holds = holds
}

func replaceMatch(pr *prover, what string, holds func(c, q *match) bool) {
	i := slices.IndexFunc(pr.matches, func(r matchRule) bool { return r.what == what })
	pr.matches[i].holds = holds
}

// A proof must also be possible: of a policy by itself, and of what is left
// when something is taken out.
func TestSubsetIsComplete(t *testing.T) {
	g := newGenerator(3)
	for range 5000 {
		routes := g.routes()
		parent := compile(t, routes...)
		prove := func(what string, child []sidecars.Route) {
			t.Helper()
			if err := Subset(compile(t, child...), parent); err != nil {
				t.Fatalf("%s: %v\n%s", what, err, describe(routes, child, probe{}))
			}
		}
		prove("itself", routes)
		prove("nothing", nil)
		// A wildcard takes over what a dropped route below it decided.
		if last := routes[len(routes)-1]; !slices.ContainsFunc(routes, func(r sidecars.Route) bool {
			below, wildcard := strings.CutPrefix(r.Host, "*.")
			return wildcard && strings.HasSuffix(last.Host, "."+below) && r.Host != last.Host
		}) {
			prove("without a host", routes[:len(routes)-1])
		}
		for i := range routes {
			less := slices.Clone(routes)
			less[i] = cloneRoute(less[i])
			r := &less[i]
			r.GitFetch = false
			prove("without git", less)
			r.DLP = &sidecars.DLP{Outbound: []string{sidecars.DetectTokenPatterns, sidecars.DetectKnownSecrets, sidecars.DetectEntropy}, OnMatch: sidecars.OnMatchBlock}
			prove("scanned for everything", less)
			if r.Budget == nil {
				r.Budget = &sidecars.Budget{Requests: 1}
				prove("with a budget", less)
			}
			if r.Response == nil {
				r.Response = &sidecars.ResponseRules{MaxBytes: 1}
				prove("with rules for answers", less)
			}
			if len(r.Ports) > 1 {
				r.Ports = r.Ports[1:]
				prove("without a port", less)
			}
			if len(r.Matches) == 0 {
				continue
			}
			if m := &r.Matches[0]; len(m.Methods) > 1 {
				m.Methods = m.Methods[1:]
				prove("without a method", less)
			}
			if m := &r.Matches[0]; len(m.Paths) > 1 {
				m.Paths = m.Paths[1:]
				prove("without a path", less)
			}
			if len(r.Matches) > 1 {
				r.Matches = r.Matches[1:]
				prove("without a match", less)
			}
		}
	}
}
