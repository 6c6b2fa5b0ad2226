package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// maxGenerations is how long a chain of parents may be.
const maxGenerations = 32

// resolver loads bottles with their parents, each file once however many paths
// lead to it.
type resolver struct {
	loader Loader
	done   map[string]*Bottle
	failed map[string]error
}

func (l Loader) resolver() *resolver {
	return &resolver{loader: l, done: map[string]*Bottle{}, failed: map[string]error{}}
}

// bottle gives a bottle that is complete.
func (r *resolver) bottle(name string) (*Bottle, error) {
	b, err := r.resolve(name, nil)
	if err != nil {
		return nil, err
	}
	if problems := b.validate(); len(problems) > 0 {
		return nil, problems
	}
	return b, nil
}

// resolve loads name and lays it over its parents. below are the names that led
// here.
func (r *resolver) resolve(name string, below []string) (*Bottle, error) {
	if b, ok := r.done[name]; ok {
		return b, nil
	}
	if err, ok := r.failed[name]; ok {
		return nil, err
	}
	b, err := r.loader.one(name)
	if err == nil && len(b.Extends) > 0 {
		b, err = r.extend(b, append(slices.Clone(below), name))
	}
	if err != nil {
		r.failed[name] = err
		return nil, err
	}
	r.done[name] = b
	return b, nil
}

// extend joins the parents from left to right and lays b over the result.
func (r *resolver) extend(b *Bottle, path []string) (*Bottle, error) {
	if len(path) > maxGenerations {
		return nil, b.at(fmt.Sprintf("the chain of parents is longer than %d", maxGenerations), "shorten it", "extends")
	}
	var joined *Bottle
	var problems Errors
	for _, name := range b.Extends {
		parent, problem := r.parent(b, name, path)
		if problem != nil {
			problems = append(problems, problem)
			continue
		}
		if joined == nil {
			joined = parent
			continue
		}
		var conflicts Errors
		joined, conflicts = lay(joined, parent, true)
		problems = append(problems, conflicts...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	out, problems := lay(joined, b, false)
	if len(problems) > 0 {
		return nil, problems
	}
	return out, nil
}

func (r *resolver) parent(b *Bottle, name string, path []string) (*Bottle, *Error) {
	if slices.Contains(path, name) {
		return nil, b.at(fmt.Sprintf("the chain %s comes back to where it was", strings.Join(append(slices.Clone(path), name), " → ")), "break it", "extends")
	}
	_, known := r.failed[name]
	parent, err := r.resolve(name, path)
	if err == nil {
		return parent, nil
	}
	problem := b.at(fmt.Sprintf("the parent %q cannot be used", name), "", "extends")
	problem.cause = err
	if !known { // else it has been said, and once is enough
		problem.Problem += ": " + root(err).Error()
	} else if errors.Is(err, fs.ErrNotExist) {
		problem.Problem += ": there is none"
	}
	return nil, problem
}

// root skips the generations between a bottle and the one that is broken.
func root(err error) error {
	for {
		var all Errors
		if !errors.As(err, &all) || len(all) != 1 || all[0].Key != "extends" || all[0].cause == nil {
			return err
		}
		err = all[0].cause
	}
}
