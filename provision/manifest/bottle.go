package manifest

import (
	"fmt"
	"regexp"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

const (
	maxName    = 64
	maxParents = 16
)

// DefaultBottle is the bottle that works with no file on disk.
const DefaultBottle = "default"

// Bottle is what one kind of bottle may do. It is plain data: whoever changes
// one that was loaded makes a copy first.
type Bottle struct {
	Name string
	// File is where it was read from; "" for the built-in bottle.
	File string
	// Extends are the bottles that it builds on, in the order of the file.
	Extends []string
	// Env is what the guest's environment gets, by name.
	Env    map[string]EnvValue
	Routes []Route
	// EgressLog is bot-bottle's level, 0 or 1. Every decision is recorded
	// whatever it is.
	EgressLog int
	// Supervise gives the agent a way to ask the operator for more.
	Supervise bool
	// User is the guest's git identity.
	User GitUser
	// Repos are the repositories behind the git gate, by their local name.
	Repos      map[string]Repo
	Provider   AgentProvider
	SubBottles SubBottles
	// Publish lists guest ports that the host may reach.
	Publish   []int
	Backend   string // "" = any
	Isolation string // "" = the backend's default
	Limits    backend.Limits
	TTL       time.Duration // 0 = the default
	// Image is what the guest's root filesystem is made from.
	Image backend.ImageSpec
	// Origins says where each of these was written.
	Origins Origins
}

// builtIn is the bottle that needs no file: no way out and no secrets.
func builtIn() *Bottle {
	return &Bottle{Name: DefaultBottle, Env: map[string]EnvValue{}, Origins: Origins{}}
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// ValidName reports whether name can be that of a bottle or agent.
func ValidName(name string) bool { return len(name) <= maxName && namePattern.MatchString(name) }

// parseBottle reads one bottle file without its parents.
func parseBottle(name string, doc document) (*Bottle, error) {
	p := newParser(doc.file)
	b := &Bottle{Name: name, File: doc.file, Env: map[string]EnvValue{}, Origins: p.origins}
	root, ok := p.parse(doc.front)
	if !ok {
		return b, p.result()
	}
	p.mapping(root, keys{
		read: map[string]func(at){
			"extends":        func(a at) { b.Extends = p.parents(a) },
			"env":            func(a at) { p.env(a, b.Env) },
			"egress":         func(a at) { p.egress(a, b) },
			"supervise":      func(a at) { b.Supervise = p.boolean(a) },
			"git-gate":       func(a at) { p.gate(a, b) },
			"agent_provider": func(a at) { p.provider(a, b) },
			"image":          func(a at) { b.Image.Reference = p.image(a) },
			"backend":        func(a at) { b.Backend = p.name(a) },
			"isolation":      func(a at) { b.Isolation = p.name(a) },
			"resources":      func(a at) { b.Limits = p.resources(a) },
			"ttl":            func(a at) { b.TTL = p.ttl(a) },
			"sub_bottles":    func(a at) { b.SubBottles = p.subBottles(a) },
			"publish":        func(a at) { b.Publish = p.publish(a) },
		},
		refused: map[string]string{"bottle": forAgents, "skills": forAgents},
		removed: removedKeys(),
	})
	p.oneImage(root, b.Image)
	return b, p.result()
}

// forAgents is the hint of keys that stand in the other kind of file.
const forAgents = "put it into the agent's file"

// removedKeys are gone from bot-bottle's format, with what replaces them.
func removedKeys() map[string]string {
	return map[string]string{
		"tokens":         "egress.routes[].auth",
		"cred_proxy":     "egress.routes[].auth",
		"git":            "git-gate.repos",
		"git_user":       "git-gate.user",
		"runtime":        "isolation",
		"path_allowlist": "egress.routes[].matches[].paths",
		"pipelock":       "egress.routes[]",
	}
}

// parents reads one name, or a list of names that are joined from left to right.
func (p *parser) parents(a at) []string {
	switch {
	case a.node.Kind == yaml.SequenceNode:
		if !p.filled(a, "a bottle without parents") {
			return nil
		}
		return distinct(p, a, maxParents, func(item at) (string, bool) {
			name := p.name(item)
			return name, name != ""
		})
	case a.node.ShortTag() != "!!str":
		p.wrongType(a, "a name or a list of names")
	default:
		if name := p.name(a); name != "" {
			return []string{name}
		}
	}
	return nil
}

// at is the place of the first of some keys that is declared, for an error that
// is found after parsing.
func (b *Bottle) at(problem, hint string, keys ...string) *Error {
	e := &Error{File: b.File, Key: keys[0], Problem: problem, Hint: hint}
	if e.File == "" {
		e.File = "built-in bottle " + b.Name
	}
	for _, key := range keys {
		if origin, ok := b.Origins[key]; ok {
			e.Key, e.File, e.Line = key, origin.File, origin.Line
			break
		}
	}
	e.Key = shortKey(e.Key)
	return e
}

// noSuch is a name that nothing has.
func noSuch(kind, name, file string, known []string) *Error {
	return &Error{File: file, Problem: fmt.Sprintf("there is no %s %q", kind, name), Hint: suggestion(name, known) + "known " + kind + "s: " + listed(known)}
}
