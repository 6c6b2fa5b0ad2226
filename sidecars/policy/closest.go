package policy

import "fmt"

// closest refuses, and says which match came closest: the one whose path
// holds before the one whose method does, and that before headers; among
// those that fail by their path, the one that shares most of it.
func closest(d Decision, rt *route, v *view) Decision {
	best, score := 0, -1
	for i := range rt.matches {
		if s := v.score(&rt.matches[i]); s > score {
			best, score = i, s
		}
	}
	d.Match = best
	m := &rt.matches[best]
	words := rt.in.Matches[best]
	allowed := "; what comes closest is " + matchWords(words) + "."
	ask := fmt.Sprintf("Ask the operator to add a match to the route for %q in this bottle's manifest, with the reason you need it; http://%s/allowlist lists what is allowed now.",
		d.Rule, LocalHost)
	switch {
	case !v.pathHolds(m) && v.pathFault != nil:
		return d.refuse(LayerMatch, ReasonPathAmbiguous, "No rule can allow this path: it "+v.pathFault.why+allowed,
			"Write the path so that it can be read in one way and send the request again; if the server needs it as it is, ask the operator for a route without path rules.")
	case !v.pathHolds(m):
		return d.refuse(LayerMatch, ReasonPathNotAllowed, fmt.Sprintf("Host %s is allowed, but not this path on it%s", v.r.Host, allowed), ask)
	case !v.methodHolds(m):
		what := "not this method"
		if len(v.overrides) > 0 {
			what = "not the method that a header or the query puts in the place of the request's own"
		}
		return d.refuse(LayerMatch, ReasonMethodNotAllowed, fmt.Sprintf("Host %s is allowed, but %s here%s", v.r.Host, what, allowed), ask)
	}
	return d.refuse(LayerMatch, ReasonHeaderNotAllowed, fmt.Sprintf("Host %s is allowed, but only with certain headers%s", v.r.Host, allowed),
		"Send the named headers once each, with the values your instructions give; if you have none, ask the operator.")
}

// score orders matches by how much of them holds.
func (v *view) score(m *match) int {
	s := 0
	if v.methodHolds(m) {
		s += 1 << 20
	}
	if v.headersHold(m) {
		s++
	}
	if v.pathHolds(m) {
		return s + 1<<21
	}
	shared := 0
	for i := range m.paths {
		shared = max(shared, sharedPrefix(m.paths[i].value, v.path))
	}
	return s + 2*shared
}

func sharedPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
