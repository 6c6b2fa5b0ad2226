package policy

import (
	"slices"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// A part that a match does not have allows everything, so a child's part may
// be missing only where the parent's is.

func methodsWithin(c, q *match) bool {
	if len(q.methods) == 0 {
		return true
	}
	return len(c.methods) > 0 && !slices.ContainsFunc(c.methods, func(m string) bool { return !slices.Contains(q.methods, m) })
}

func (pr *prover) pathsWithin(c, q *match) bool {
	if len(q.paths) == 0 {
		return true
	}
	for i := range c.paths {
		if !slices.ContainsFunc(q.paths, func(o pathRule) bool { return pr.paths(&c.paths[i], &o) }) {
			return false
		}
	}
	return len(c.paths) > 0
}

// headersWithin: every demand of the parent's follows from one of the child's
// on the same header.
func headersWithin(c, q *match) bool {
	for i := range q.headers {
		implied := func(r headerRule) bool { return r.name == q.headers[i].name && headerWithin(&r, &q.headers[i]) }
		if !slices.ContainsFunc(c.headers, implied) {
			return false
		}
	}
	return true
}

func headerWithin(c, q *headerRule) bool {
	if c.expr != nil {
		return q.expr != nil && c.value == q.value
	}
	return q.accepts(c.value)
}

// pathWithin reports whether every normal path that c holds for is one that q
// holds for. Between two regular expressions only equality is decided, and a
// prefix is never found within one.
func pathWithin(c, q *pathRule) bool {
	switch {
	case c.kind == sidecars.MatchExact:
		return q.holds(c.value)
	case c.kind == q.kind && c.value == q.value:
		return true
	case q.kind != sidecars.MatchPrefix:
		return false
	case c.kind == sidecars.MatchPrefix:
		return below(c.value, q.value)
	}
	return c.expr.within(q.value)
}
