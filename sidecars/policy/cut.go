package policy

import (
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// cut is what a request wants of one route, and what of that was found.
type cut struct {
	want       sidecars.Match
	rules      []pathRule // of want
	pathsMet   []int
	methodsMet []string
}

// of returns the part of a match that is wanted; false when nothing is.
func (c *cut) of(m *match, in sidecars.Match) (sidecars.Match, bool) {
	out := sidecars.Match{Paths: slices.Clone(in.Paths), Methods: slices.Clone(in.Methods), Headers: slices.Clone(in.Headers)}
	if len(c.want.Methods) > 0 {
		out.Methods = slices.DeleteFunc(slices.Clone(c.want.Methods), func(s string) bool {
			return len(m.methods) > 0 && !slices.Contains(m.methods, s)
		})
		if len(out.Methods) == 0 {
			return out, false
		}
	}
	var met []int
	if len(c.want.Paths) > 0 {
		if out.Paths, met = c.paths(m, in); len(out.Paths) == 0 {
			return out, false
		}
	}
	c.pathsMet = append(c.pathsMet, met...)
	c.methodsMet = append(c.methodsMet, out.Methods...)
	return out, true
}

// paths keeps wanted rules that lie within one of the match's, and those of
// the match that lie within a wanted one.
func (c *cut) paths(m *match, in sidecars.Match) (out []sidecars.PathMatch, met []int) {
	for i := range c.rules {
		want := &c.rules[i]
		if len(m.paths) == 0 || slices.ContainsFunc(m.paths, func(p pathRule) bool { return pathWithin(want, &p) }) {
			out, met = append(out, c.want.Paths[i]), append(met, i)
			continue
		}
		for j := range m.paths {
			if pathWithin(&m.paths[j], want) {
				met = append(met, i)
				out = append(out, in.Paths[j])
			}
		}
	}
	return slices.Compact(slices.SortedFunc(slices.Values(out), comparePaths)), met
}

func comparePaths(a, b sidecars.PathMatch) int {
	return strings.Compare(a.Type+a.Value, b.Type+b.Value)
}
