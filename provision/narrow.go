package provision

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// narrowRoutes keeps what a request names of the manifest's routes, by the
// policy's own rules (policy.Narrow): every host that is left is decided as
// before, with the same credential, ports, addresses and rules.
func narrowRoutes(routes []manifest.Route, req LaunchRequest) ([]manifest.Route, []error) {
	if req.OnlyHosts == nil && req.Only == nil {
		return routes, nil
	}
	want, problems := narrowing(req)
	if len(problems) > 0 {
		return nil, problems
	}
	parent, err := compileRoutes(routes)
	if err != nil {
		return nil, []error{&InvalidError{Field: "egress.routes of the manifest", Problem: err.Error()}}
	}
	left, err := policy.Narrow(parent, want)
	if err != nil {
		return nil, narrowProblems(err, req)
	}
	out := []manifest.Route{}
	for _, l := range left {
		i, ok := parent.Containing(l.Host)
		if !ok { // Narrow has proven that there is one
			return nil, []error{fmt.Errorf("narrow the policy: no route contains %s", l.Host)}
		}
		r := routes[i]
		r.Host, r.Matches = l.Host, l.Matches
		out = append(out, r)
	}
	return out, nil
}

// narrowing says a request in the policy's words.
func narrowing(req LaunchRequest) (policy.NarrowRequest, []error) {
	out := policy.NarrowRequest{Hosts: req.OnlyHosts, Paths: map[string][]sidecars.PathMatch{}, Methods: map[string][]string{}}
	var problems []error
	fail := func(i int, key, format string, args ...any) {
		problems = append(problems, &InvalidError{Field: fmt.Sprintf("only[%d].%s", i, key), Problem: fmt.Sprintf(format, args...)})
	}
	if req.OnlyHosts == nil {
		out.Hosts = []string{}
	}
	seen := map[string]bool{}
	for i, rule := range req.Only {
		host := hostKey(rule.Host)
		switch {
		case seen[host]:
			fail(i, "host", "%.80q stands twice; put its paths and methods into one entry", rule.Host)
		case req.OnlyHosts == nil:
			out.Hosts = append(out.Hosts, host)
		case !slices.ContainsFunc(req.OnlyHosts, func(h string) bool { return hostKey(h) == host }):
			fail(i, "host", "%.80q is not among only_hosts; list it there too, or leave only_hosts out", rule.Host)
		}
		seen[host] = true
		if rule.Methods != nil {
			out.Methods[host] = rule.Methods
		}
		if rule.Paths == nil {
			continue
		}
		out.Paths[host] = []sidecars.PathMatch{}
		for _, path := range rule.Paths {
			if strings.Contains(path, "*") {
				fail(i, "paths", "%.80q holds a wildcard; a path takes in everything below it, so leave the '*' out", path)
			}
			out.Paths[host] = append(out.Paths[host], sidecars.PathMatch{Type: sidecars.MatchPrefix, Value: path})
		}
	}
	return out, problems
}

// hostKey brings the spellings of a host together.
func hostKey(name string) string {
	return strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), ".")
}

// compileRoutes is the policy that the routes make. In place of slots, which a
// launch gives out, stand the credentials' own names, so that policies can be
// compared.
func compileRoutes(routes []manifest.Route) (*policy.Policy, error) {
	rules := make([]sidecars.Route, len(routes))
	for i, r := range routes {
		slot := ""
		if r.Auth != nil {
			slot = r.Auth.TokenRef
		}
		rules[i] = r.Sidecar(slot)
	}
	return policy.Compile(rules)
}

// narrowProblems says each of policy.Narrow's errors as one about the request.
func narrowProblems(err error, req LaunchRequest) []error {
	faults := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		faults = joined.Unwrap()
	}
	field := func(no *policy.NarrowError) string {
		i := slices.IndexFunc(req.Only, func(r OnlyRule) bool { return hostKey(r.Host) == hostKey(no.Host) })
		switch {
		case no.Field == "hosts" && req.OnlyHosts != nil:
			return "only_hosts"
		case i < 0:
			return "only"
		case no.Field == "hosts":
			return fmt.Sprintf("only[%d].host", i)
		}
		return fmt.Sprintf("only[%d].%s", i, no.Field)
	}
	var problems []error
	for _, fault := range faults {
		var no *policy.NarrowError
		if errors.As(fault, &no) {
			fault = &InvalidError{Field: field(no), Problem: fmt.Sprintf("%.80q: %s", no.Host, no.Problem), Allowed: no.Allowed, host: no.Host}
		}
		problems = append(problems, fault)
	}
	return problems
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

// authWords says how a credential is put in and where it comes from, such as
// "Bearer from $NAME" or "X-Api-Key from $NAME".
func authWords(a manifest.Auth) string {
	form := a.Scheme
	if a.Scheme == sidecars.SchemeHeader {
		form = a.Header
	}
	return form + " from " + credentialName(a.TokenRef)
}

// credentialName says where a credential comes from.
func credentialName(ref string) string {
	if format, ok := provider.CutLoginRef(ref); ok {
		return "this host's " + format + " login"
	}
	return "$" + ref
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
