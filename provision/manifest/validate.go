package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// validate finds what only the whole bottle shows, in the order of its keys.
func (b *Bottle) validate() Errors {
	var problems Errors
	tooMany := func(n, most int, key, what string) {
		if n > most {
			problems = append(problems, b.at(fmt.Sprintf("with its parents the bottle has %d %s; at most %d are accepted", n, what, most), "shorten it", key))
		}
	}
	tooMany(len(b.Env), maxEnv, "env", "variables")
	tooMany(len(b.Routes), maxRoutes, routesPath, "routes")
	tooMany(len(b.Repos), maxRepos, "git-gate.repos", "repositories")
	tooMany(len(b.Publish), maxPublish, "publish", "ports")
	lower := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(b.Repos)) {
		problems = append(problems, b.incomplete(name)...)
		if other, twice := lower[strings.ToLower(name)]; twice {
			problems = append(problems, b.at(fmt.Sprintf("it differs from %q only in case", other), "rename one of the two", repoKey(name)))
		}
		lower[strings.ToLower(name)] = name
	}
	problems = append(problems, b.compile()...)
	if b.SubBottles.Depth > 0 && !b.Origins.has("sub_bottles.max") {
		problems = append(problems, b.at("a depth needs a max", `write "max: 3" beside it`, "sub_bottles"))
	}
	return problems
}

// compile asks the proxy's own judge. What a manifest may say about a route is
// narrower and explained better, so this finds what only all of them show, such
// as too many patterns.
func (b *Bottle) compile() Errors {
	rules := make([]sidecars.Route, len(b.Routes))
	for i, r := range b.Routes {
		rules[i] = r.Sidecar("")
	}
	_, err := policy.Compile(rules)
	if err == nil {
		return nil
	}
	faults := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		faults = joined.Unwrap()
	}
	var problems Errors
	for _, fault := range faults {
		var route *policy.RouteError
		if errors.As(fault, &route) {
			key := routeKey(route.Index)
			problems = append(problems, b.at(masked(route.Err.Error()), "", key+".matches", key+".host"))
			continue
		}
		problems = append(problems, b.at(masked(fault.Error()), "", routesPath))
	}
	return problems
}

// incomplete reports a repository that lacks a part after all parents are in.
func (b *Bottle) incomplete(name string) Errors {
	var problems Errors
	r, key := b.Repos[name], repoKey(name)
	if r.URL == "" {
		problems = append(problems, b.at("a repository needs a url", `write for example "url: ssh://git@git.example.com/team/app.git"`, key))
	}
	if r.Key.Provider == "" {
		problems = append(problems, b.at("a repository needs a key", "write one of "+strings.Join(keyForms, ", "), key))
	}
	return problems
}
