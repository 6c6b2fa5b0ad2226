package provision

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// narrowRoutes keeps what only names of the manifest's routes. Its result
// decides every host it allows exactly as routes do, with the same credential,
// ports and addresses: a route more specific than a wildcard that is kept is
// kept as well, since without it the wildcard would decide its host.
func narrowRoutes(routes []manifest.Route, only []string) ([]manifest.Route, []error) {
	kept := map[string]manifest.Route{}
	var problems []error
	for _, name := range only {
		host := strings.ToLower(strings.TrimSpace(name))
		if err := manifest.CheckHost(host); err != nil {
			problems = append(problems, &InvalidError{Field: "only_hosts", Problem: fmt.Sprintf("%.80q is not a host: %v", name, err)})
			continue
		}
		r, ok := covering(routes, host)
		if !ok {
			problems = append(problems, &InvalidError{
				Field: "only_hosts", Problem: fmt.Sprintf("the operator's manifest does not allow %.80q; a request can only narrow it", name),
				Allowed: hostsOf(routes),
			})
			continue
		}
		r.Host = host
		kept[host] = r
		for _, inner := range routes {
			if covers(host, inner.Host) {
				kept[inner.Host] = inner
			}
		}
	}
	return inOrder(routes, kept), problems
}

// covering finds the route that decides host, which may be a wildcard itself.
func covering(routes []manifest.Route, host string) (manifest.Route, bool) {
	best, found := manifest.Route{}, false
	for _, r := range routes {
		if r.Host == host {
			return r, true
		}
		if covers(r.Host, host) && (!found || len(r.Host) > len(best.Host)) {
			best, found = r, true
		}
	}
	return best, found
}

// covers reports whether the wildcard takes in every host of pattern, which is
// below it and not itself. No wildcard covers an address.
func covers(wildcard, pattern string) bool {
	suffix, ok := strings.CutPrefix(wildcard, "*")
	inner := strings.TrimPrefix(pattern, "*")
	return ok && wildcard != pattern && len(inner) > len(suffix) && strings.HasSuffix(inner, suffix)
}

// inOrder lists the kept routes as the manifest does, and narrowed ones after.
func inOrder(routes []manifest.Route, kept map[string]manifest.Route) []manifest.Route {
	out := []manifest.Route{}
	for _, r := range routes {
		if k, ok := kept[r.Host]; ok {
			out = append(out, k)
			delete(kept, r.Host)
		}
	}
	rest := make([]manifest.Route, 0, len(kept))
	for _, r := range kept {
		rest = append(rest, r)
	}
	slices.SortFunc(rest, func(a, b manifest.Route) int { return strings.Compare(a.Host, b.Host) })
	return append(out, rest...)
}

func hostsOf(routes []manifest.Route) []string {
	const most = 20
	var out []string
	for _, r := range routes[:min(most, len(routes))] {
		out = append(out, r.Host)
	}
	if len(routes) > most {
		out = append(out, "…")
	}
	return out
}

// narrowLimits lowers allowed by asked. Zero is no bound in allowed and no wish
// in asked.
func narrowLimits(allowed, asked backend.Limits) (backend.Limits, []error) {
	var problems []error
	lower := func(field string, allowed, asked float64) float64 {
		switch {
		case asked == 0:
			return allowed
		case !(asked > 0): // also what is no number
			problems = append(problems, &InvalidError{Field: field, Problem: "it must be positive"})
		case allowed != 0 && asked > allowed:
			problems = append(problems, &InvalidError{Field: field, Problem: fmt.Sprintf("%v is more than the %v that the manifest allows; a request can only lower it", asked, allowed)})
		}
		return asked
	}
	out := backend.Limits{
		CPUs:        lower("limits.cpus", allowed.CPUs, asked.CPUs),
		MemoryBytes: int64(lower("limits.memory_bytes", float64(allowed.MemoryBytes), float64(asked.MemoryBytes))),
		DiskBytes:   int64(lower("limits.disk_bytes", float64(allowed.DiskBytes), float64(asked.DiskBytes))),
		PIDs:        int(lower("limits.pids", float64(allowed.PIDs), float64(asked.PIDs))),
	}
	return out, problems
}

// summarize shows routes without anything secret.
func summarize(routes []manifest.Route) []RouteSummary {
	out := []RouteSummary{}
	for _, r := range routes {
		s := RouteSummary{Host: r.Host, Ports: append([]int{}, r.Ports...), Private: r.Private}
		if r.Auth != nil {
			s.Auth = r.Auth.Scheme + " from $" + r.Auth.TokenRef
		}
		out = append(out, s)
	}
	return out
}

// policyWords says in words what the routes allow.
func policyWords(routes []manifest.Route) string {
	if len(routes) == 0 {
		return "no host can be reached"
	}
	const most = 30
	var parts []string
	for _, r := range routes[:min(most, len(routes))] {
		parts = append(parts, policy.Words(r.Sidecar("")))
	}
	if more := len(routes) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return "only " + strings.Join(parts, ", ")
}
