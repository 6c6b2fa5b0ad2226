package manifest

import (
	"fmt"
	"maps"
	"slices"
)

// layer is one bottle being laid over another.
type layer struct {
	base, top *Bottle
	out       *Bottle
	problems  Errors
}

// lay puts top over base and changes neither. Variables are laid over one by
// one, resources, agent_provider, git-gate.user and sub_bottles field by field,
// single values where top gives one. With unite, base and top are parents of one
// bottle: routes and ports are joined, repositories field by field. Without, top
// is the child, and its egress, git-gate.repos or publish replaces the parents'
// as a whole, also when it is empty: what a child says there is all there is.
func lay(base, top *Bottle, unite bool) (*Bottle, Errors) {
	out := *top
	out.Origins = maps.Clone(base.Origins)
	out.Env = maps.Clone(base.Env)
	maps.Copy(out.Env, top.Env)
	l := &layer{base: base, top: top, out: &out}
	l.scalars()
	l.login()
	var index []int
	if unite {
		index = l.unite()
	} else {
		l.replace()
	}
	out.Origins.add(top.Origins, index)
	return &out, l.problems
}

// inherit keeps the parent's value of a field whose keys top does not declare.
func inherit[T any](l *layer, field *T, base T, keys ...string) {
	switch {
	case !l.top.Origins.has(keys...):
		*field = base
	case len(keys) > 1: // the parent's may stand under another of them
		l.out.Origins.drop(keys...)
	}
}

func (l *layer) scalars() {
	out, base := l.out, l.base
	inherit(l, &out.Supervise, base.Supervise, "supervise")
	inherit(l, &out.Backend, base.Backend, "backend")
	inherit(l, &out.Isolation, base.Isolation, "isolation")
	inherit(l, &out.TTL, base.TTL, "ttl")
	inherit(l, &out.Image, base.Image, imageKeys...)
	inherit(l, &out.Limits.CPUs, base.Limits.CPUs, "resources.cpus")
	inherit(l, &out.Limits.MemoryBytes, base.Limits.MemoryBytes, "resources.memory")
	inherit(l, &out.Limits.DiskBytes, base.Limits.DiskBytes, "resources.disk")
	inherit(l, &out.Limits.PIDs, base.Limits.PIDs, "resources.pids")
	inherit(l, &out.User.Name, base.User.Name, "git-gate.user.name")
	inherit(l, &out.User.Email, base.User.Email, "git-gate.user.email")
	inherit(l, &out.Provider.Template, base.Provider.Template, "agent_provider.template")
	inherit(l, &out.SubBottles.Max, base.SubBottles.Max, "sub_bottles.max")
	inherit(l, &out.SubBottles.Depth, base.SubBottles.Depth, "sub_bottles.depth")
}

// login lets one of two ways to log in replace the other.
func (l *layer) login() {
	out, declared := &l.out.Provider, l.top.Origins.has
	token, forward := loginKeys[0], loginKeys[1]
	switch {
	case declared(token) || declared(forward) && out.ForwardHostCredentials:
		l.out.Origins.drop(loginKeys...)
	case declared(forward):
		out.AuthToken = l.base.Provider.AuthToken
	default:
		out.AuthToken, out.ForwardHostCredentials = l.base.Provider.AuthToken, l.base.Provider.ForwardHostCredentials
	}
}

// replace takes each block from the child that declares it.
func (l *layer) replace() {
	out, base := l.out, l.base
	if l.top.Origins.has("egress") {
		out.Origins.drop("egress")
	} else {
		out.Routes, out.EgressLog = base.Routes, base.EgressLog
	}
	if l.top.Origins.has("git-gate.repos") {
		out.Origins.drop("git-gate.repos")
	} else {
		out.Repos = base.Repos
	}
	inherit(l, &out.Publish, base.Publish, "publish")
}

// unite joins the blocks of two parents. It returns where top's routes went.
func (l *layer) unite() []int {
	out, base := l.out, l.base
	var index []int
	out.Routes, index, l.problems = joinRoutes(base, l.top)
	inherit(l, &out.EgressLog, base.EgressLog, "egress.log")
	out.Publish = joinPorts(base.Publish, l.top.Publish)
	if len(base.Repos)+len(l.top.Repos) == 0 {
		return index
	}
	out.Repos = maps.Clone(base.Repos)
	if out.Repos == nil {
		out.Repos = map[string]Repo{}
	}
	for name, over := range l.top.Repos {
		out.Repos[name] = l.repo(name, out.Repos[name], over)
	}
	return index
}

// repo lays one declaration of a repository over another.
func (l *layer) repo(name string, repo, over Repo) Repo {
	if over.URL != "" {
		repo.URL = over.URL
	}
	if over.HostKey != "" {
		repo.HostKey = over.HostKey
	}
	if over.Key.Provider != "" {
		repo.Key = over.Key
		for _, form := range keyForms {
			l.out.Origins.drop(repoKey(name) + "." + form)
		}
	}
	return repo
}

// repoKey is the path of one repository.
func repoKey(name string) string { return at{key: "git-gate.repos"}.child(name, nil).key }

// joinRoutes appends top's routes to base's. One that stands in both is kept
// once; two different ones for a host are a problem.
func joinRoutes(base, top *Bottle) (routes []Route, index []int, problems Errors) {
	routes, index = slices.Clone(base.Routes), make([]int, len(top.Routes))
	known := make(map[string]int, len(routes))
	for i, r := range routes {
		known[r.Host] = i
	}
	for i, r := range top.Routes {
		at, twice := known[r.Host]
		switch {
		case !twice:
			index[i] = len(routes)
			routes = append(routes, r)
		case routes[at].Equal(r):
			index[i] = -1
		default:
			index[i] = -1
			problems = append(problems, top.at(fmt.Sprintf("host %q has another route in %s", r.Host, base.where(routeKey(at))), "keep one of the two", routeKey(i)+".host"))
		}
	}
	return routes, index, problems
}

// joinPorts unites two sorted lists.
func joinPorts(a, b []int) []int {
	if len(a) == 0 {
		return b
	}
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

// where says where a key was written.
func (b *Bottle) where(key string) string {
	if origin, ok := b.Origins[key]; ok {
		return origin.String()
	}
	if origin, ok := b.Origins[key+".host"]; ok {
		return origin.String()
	}
	return "bottle " + b.Name
}
