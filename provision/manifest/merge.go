package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// resolve loads name and lays it over its parent. below are the names that led
// here.
func (l Loader) resolve(name string, below []string) (*Bottle, error) {
	b, err := l.one(name)
	if err != nil || b.extends == "" {
		return b, err
	}
	path := append(slices.Clone(below), name)
	if slices.Contains(path, b.extends) {
		return nil, b.extendsError(fmt.Sprintf("the chain %s comes back to where it was", strings.Join(append(path, b.extends), " → ")), "break it", nil)
	}
	parent, err := l.resolve(b.extends, path)
	if err != nil {
		return nil, b.extendsError("the parent cannot be used: "+err.Error(), "", err)
	}
	return inherit(parent, b), nil
}

func (b *Bottle) extendsError(problem, hint string, cause error) error {
	return &Error{File: b.File, Line: b.extendsAt, Key: "extends", Problem: problem, Hint: hint, cause: cause}
}

// inherit lays child over parent: variables one by one, egress as a whole
// (also when the child declares none of it), single values where given.
func inherit(parent, child *Bottle) *Bottle {
	out := *child
	out.Env = maps.Clone(parent.Env)
	maps.Copy(out.Env, child.Env)
	if !child.ownsEgress {
		out.Routes, out.ownsEgress = parent.Routes, parent.ownsEgress
	}
	out.Backend = first(child.Backend, parent.Backend)
	out.Isolation = first(child.Isolation, parent.Isolation)
	out.TTL = first(child.TTL, parent.TTL)
	out.Image = first(child.Image, parent.Image)
	if child.GitRepos == nil {
		out.GitRepos = parent.GitRepos
	}
	out.Limits = backend.Limits{
		CPUs:        first(child.Limits.CPUs, parent.Limits.CPUs),
		MemoryBytes: first(child.Limits.MemoryBytes, parent.Limits.MemoryBytes),
		DiskBytes:   first(child.Limits.DiskBytes, parent.Limits.DiskBytes),
		PIDs:        first(child.Limits.PIDs, parent.Limits.PIDs),
	}
	return &out
}

func first[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}

// Merge joins several bottles that a launch names. Routes are united and later
// variables win; of limits and times the strictest holds, because the caller
// chooses the order. What contradicts is an error: two routes for one host, two
// backends, two isolation classes.
func Merge(bottles []*Bottle) (*Bottle, error) {
	out := *bottles[0]
	out.Env = maps.Clone(out.Env)
	out.Routes = slices.Clone(out.Routes)
	var problems Errors
	for _, b := range bottles[1:] {
		out.Name += "+" + b.Name
		maps.Copy(out.Env, b.Env)
		for _, r := range b.Routes {
			i := slices.IndexFunc(out.Routes, func(o Route) bool { return o.Host == r.Host })
			switch {
			case i < 0:
				out.Routes = append(out.Routes, r)
			case !out.Routes[i].Equal(r):
				problems = append(problems, b.conflict("egress.routes", fmt.Sprintf("host %q has another route in an earlier bottle", r.Host)))
			}
		}
		if out.Backend != "" && b.Backend != "" && out.Backend != b.Backend {
			problems = append(problems, b.conflict("backend", fmt.Sprintf("%q contradicts %q of an earlier bottle", b.Backend, out.Backend)))
		}
		if out.Isolation != "" && b.Isolation != "" && out.Isolation != b.Isolation {
			problems = append(problems, b.conflict("isolation", fmt.Sprintf("%q contradicts %q of an earlier bottle", b.Isolation, out.Isolation)))
		}
		if !out.Image.Zero() && !b.Image.Zero() && out.Image != b.Image {
			problems = append(problems, b.conflict("image", "an earlier bottle is made from something else"))
		}
		out.Backend, out.Isolation = first(out.Backend, b.Backend), first(out.Isolation, b.Isolation)
		out.Image = first(out.Image, b.Image)
		out.GitRepos = append(slices.Clone(out.GitRepos), b.GitRepos...)
		out.TTL = strictest[time.Duration](out.TTL, b.TTL)
		out.Limits = backend.Limits{
			CPUs:        strictest(out.Limits.CPUs, b.Limits.CPUs),
			MemoryBytes: strictest(out.Limits.MemoryBytes, b.Limits.MemoryBytes),
			DiskBytes:   strictest(out.Limits.DiskBytes, b.Limits.DiskBytes),
			PIDs:        strictest(out.Limits.PIDs, b.Limits.PIDs),
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return &out, nil
}

func (b *Bottle) conflict(key, problem string) *Error {
	file := b.File
	if file == "" {
		file = "built-in bottle " + b.Name
	}
	return &Error{File: file, Key: key, Problem: problem, Hint: "launch them apart"}
}

// strictest is the smaller of two bounds, where zero is none.
func strictest[T int | int64 | float64 | time.Duration](a, b T) T {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}
