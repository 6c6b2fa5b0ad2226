package provision

import (
	"maps"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// preview adds what only those want to know who look at a plan before it runs.
func (d *draft) preview() {
	d.plan.Repositories, d.plan.GitUser = repositories(d.bottle.Repos), d.r.git.user
	d.plan.SubBottles, d.plan.Publish = subBottlesPlan(d.bottle.SubBottles), append([]int{}, d.bottle.Publish...)
	d.plan.BackendDetail = d.r.caps.Detail
	d.plan.Variables = []VariableSummary{}
	for _, name := range slices.Sorted(maps.Keys(d.r.env)) {
		from := "manifest"
		if _, declared := d.bottle.Env[name]; !declared && d.r.agent != nil {
			from = "provider"
		}
		if _, asked := d.req.Env[name]; asked {
			from = "request"
		} else if d.r.env[name].Ask {
			from = "asked"
		} else if host := d.r.env[name].FromHost; host != "" {
			from = "$" + host
		}
		d.plan.Variables = append(d.plan.Variables, VariableSummary{Name: name, From: from})
	}
	d.plan.Missing = append([]backend.Missing{}, d.r.caps.Missing...)
}

// allowance says in words which requests a route lets pass: policy's words for
// it, without the host and what stands beside it in a summary.
func allowance(r manifest.Route) string {
	words := policy.Words(sidecars.Route{Matches: r.Matches, GitFetch: r.GitFetch})
	words = strings.TrimSuffix(strings.TrimPrefix(words, " ("), ")")
	switch {
	case words == "":
		return "any method on any path"
	case len(r.Matches) == 0:
		return "any method on any path; " + words
	default:
		return strings.TrimPrefix(words, "only ")
	}
}
