package provision

import (
	"slices"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// demand is something that a manifest can ask for and this version cannot give.
// What a backend cannot give is judged by services, image and bounds.
type demand struct {
	// missing is what the bottle would run without.
	missing string
	// keys are those of the bottle that ask for it.
	keys func(*manifest.Bottle) []string
}

// demands is everything that manifests know and this version does not. Whoever
// makes one of them work takes its line out.
func demands() []demand {
	return []demand{
		{"a way for the agent to ask for more", of("supervise", func(b *manifest.Bottle) bool { return b.Supervise })},
		{"reachable ports", of("publish", func(b *manifest.Bottle) bool { return len(b.Publish) > 0 })},
	}
}

// of is a demand of one key.
func of(key string, asked func(*manifest.Bottle) bool) func(*manifest.Bottle) []string {
	return func(b *manifest.Bottle) []string {
		if asked(b) {
			return []string{key}
		}
		return nil
	}
}

// Unsupported lists what a bottle and an agent ask for and this version does not
// give, in the order of the files. An agent asks for nothing of the kind. A launch
// with any of it is refused: a bottle must not run with less than its manifest
// asks for. b may be nil.
func Unsupported(b *manifest.Bottle, _ *manifest.Agent) []*manifest.Error {
	var out []*manifest.Error
	if b != nil {
		for _, d := range demands() {
			for _, key := range d.keys(b) {
				out = append(out, unsupported(b.Origins[key], key, d.missing))
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *manifest.Error) int {
		if a.File != b.File {
			return 0
		}
		return a.Line - b.Line
	})
	return out
}

func unsupported(origin manifest.Origin, key, missing string) *manifest.Error {
	return &manifest.Error{
		File: origin.File, Line: origin.Line, Key: key,
		Problem: "it is not supported yet by this version (" + missing + ")",
		Hint:    "remove the key; a bottle must not run with less than it asks for",
	}
}

// unsupported refuses a launch that asks for more than there is.
func (d *draft) unsupported() {
	for _, e := range Unsupported(d.bottle, d.agent) {
		d.problems = append(d.problems, e)
	}
}
