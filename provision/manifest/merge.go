package manifest

import (
	"maps"
	"slices"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Merge joins several bottles that a launch names. Routes, repositories and
// ports are united and later variables win; of limits and times the strictest
// holds, because the caller chooses the order. What contradicts is an error: a
// caller must not be able to make a bottle from the host of one and the
// credential of another.
func Merge(bottles []*Bottle) (*Bottle, error) {
	out := bottles[0]
	var problems Errors
	for _, b := range bottles[1:] {
		m := &merger{a: out, b: b}
		out = m.merge()
		problems = append(problems, m.problems...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	if problems = out.validate(); len(problems) > 0 {
		return nil, problems
	}
	return out, nil
}

// merger joins two bottles of a launch.
type merger struct {
	a, b     *Bottle
	problems Errors
}

func (m *merger) merge() *Bottle {
	out := *m.a
	out.Name += "+" + m.b.Name
	out.Env = maps.Clone(m.a.Env)
	maps.Copy(out.Env, m.b.Env)
	var index []int
	out.Routes, index, m.problems = joinRoutes(m.a, m.b)
	out.EgressLog = max(m.a.EgressLog, m.b.EgressLog)
	out.Publish = joinPorts(m.a.Publish, m.b.Publish)
	out.Repos = m.repos()
	out.Backend = same(m, m.a.Backend, m.b.Backend, "backend")
	out.Isolation = same(m, m.a.Isolation, m.b.Isolation, "isolation")
	out.Image = same(m, m.a.Image, m.b.Image, imageKeys...)
	out.User.Name = same(m, m.a.User.Name, m.b.User.Name, "git-gate.user.name")
	out.User.Email = same(m, m.a.User.Email, m.b.User.Email, "git-gate.user.email")
	out.Provider = m.provider()
	out.Supervise = m.supervise()
	out.SubBottles = m.subBottles()
	out.TTL = strictest(m.a.TTL, m.b.TTL)
	out.Limits = backend.Limits{
		CPUs:        strictest(m.a.Limits.CPUs, m.b.Limits.CPUs),
		MemoryBytes: strictest(m.a.Limits.MemoryBytes, m.b.Limits.MemoryBytes),
		DiskBytes:   strictest(m.a.Limits.DiskBytes, m.b.Limits.DiskBytes),
		PIDs:        strictest(m.a.Limits.PIDs, m.b.Limits.PIDs),
	}
	out.Origins = m.origins(index)
	return &out
}

// same is the value that one or both give. Two different ones are a problem.
func same[T comparable](m *merger, a, b T, keys ...string) T {
	var zero T
	if a == zero {
		return b
	}
	if b != zero && a != b {
		m.conflict("it contradicts "+m.a.where(m.declared(keys)), keys...)
	}
	return a
}

// declared is the key that the earlier bottle uses.
func (m *merger) declared(keys []string) string {
	for _, key := range keys {
		if m.a.Origins.has(key) {
			return key
		}
	}
	return keys[0]
}

func (m *merger) conflict(problem string, keys ...string) {
	m.problems = append(m.problems, m.b.at(problem, "launch the bottles apart", keys...))
}

// repos unites by name. The parts of one repository belong together.
func (m *merger) repos() map[string]Repo {
	if len(m.a.Repos)+len(m.b.Repos) == 0 {
		return m.a.Repos
	}
	out := map[string]Repo{}
	maps.Copy(out, m.a.Repos)
	for _, name := range slices.Sorted(maps.Keys(m.b.Repos)) {
		old, twice := out[name]
		if twice && old != m.b.Repos[name] {
			m.conflict("another repository has this name in "+m.a.where(repoKey(name)), repoKey(name))
		}
		out[name] = m.b.Repos[name]
	}
	return out
}

func (m *merger) provider() AgentProvider {
	a, b := m.a.Provider, m.b.Provider
	out := AgentProvider{
		Template:               same(m, a.Template, b.Template, "agent_provider.template"),
		AuthToken:              same(m, a.AuthToken, b.AuthToken, loginKeys[0]),
		ForwardHostCredentials: a.ForwardHostCredentials || b.ForwardHostCredentials,
	}
	if a.AuthToken != "" && b.ForwardHostCredentials || b.AuthToken != "" && a.ForwardHostCredentials {
		m.conflict("an earlier bottle logs in another way", loginKeys...)
	}
	return out
}

func (m *merger) supervise() bool {
	const key = "supervise"
	if m.a.Origins.has(key) && m.b.Origins.has(key) && m.a.Supervise != m.b.Supervise {
		m.conflict("it contradicts "+m.a.where(key), key)
	}
	return m.a.Supervise || m.b.Supervise
}

// subBottles takes the strictest where both say something. Zero is none here.
func (m *merger) subBottles() SubBottles {
	const key = "sub_bottles"
	switch {
	case !m.b.Origins.has(key):
		return m.a.SubBottles
	case !m.a.Origins.has(key):
		return m.b.SubBottles
	}
	return SubBottles{
		Max:   min(m.a.SubBottles.Max, m.b.SubBottles.Max),
		Depth: strictest(m.a.SubBottles.Depth, m.b.SubBottles.Depth),
	}
}

// origins are those of the values that were taken.
func (m *merger) origins(index []int) Origins {
	out := maps.Clone(m.a.Origins)
	if out == nil {
		out = Origins{}
	}
	out.add(m.b.Origins, index)
	a, b := m.a, m.b
	for key, earlier := range map[string]bool{
		"ttl":               stricter(a.TTL, b.TTL),
		"resources.cpus":    stricter(a.Limits.CPUs, b.Limits.CPUs),
		"resources.memory":  stricter(a.Limits.MemoryBytes, b.Limits.MemoryBytes),
		"resources.disk":    stricter(a.Limits.DiskBytes, b.Limits.DiskBytes),
		"resources.pids":    stricter(a.Limits.PIDs, b.Limits.PIDs),
		"egress.log":        a.EgressLog > b.EgressLog,
		"sub_bottles.max":   a.SubBottles.Max <= b.SubBottles.Max,
		"sub_bottles.depth": stricter(a.SubBottles.Depth, b.SubBottles.Depth),
	} {
		if origin, ok := a.Origins[key]; ok && earlier {
			out[key] = origin
		}
	}
	return out
}

// strictest is the smaller of two bounds, where zero is none.
func strictest[T int | int64 | float64 | time.Duration](a, b T) T {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// stricter reports whether strictest takes a.
func stricter[T int | int64 | float64 | time.Duration](a, b T) bool {
	return a != 0 && (b == 0 || a <= b)
}
