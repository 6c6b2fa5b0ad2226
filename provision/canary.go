package provision

import (
	"crypto/rand"
	"maps"
	"path"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// canaryName is what logs call a bottle's canary.
const canaryName = "canary"

// newCanary makes a value that nobody has a right use for: whatever sends it has
// gathered what it found. It is not in the environment, because an agent that
// lists its variables does nothing wrong and would be cut off from its model.
func newCanary() secret.Value { return secret.New(rand.Text() + rand.Text()) }

// canaryFile is where it lies in the guest: a place that looks worth taking and
// that no program reads.
func canaryFile(canary secret.Value) setup.File {
	return setup.File{
		Path: path.Join(backend.AgentHome, ".config/credentials"), How: setup.Create, Mode: 0o600,
		Content: []byte("[default]\nsecret_access_key = " + canary.Reveal() + "\n"), //nolint:forbidigo // the guest is where it is to be found
	}
}

// knownSecrets are what the manifest puts into the guest that an operator may not
// want to see elsewhere: the host's variables, and answers to questions. A
// variable that a route's credential is too, is known by that already.
func (l *launch) knownSecrets() []sidecars.Named {
	var out []sidecars.Named
	for _, name := range slices.Sorted(maps.Keys(l.r.env)) {
		v := l.r.env[name]
		value := l.r.answers[name]
		if v.FromHost != "" {
			text, _ := l.m.cfg.LookupEnv(v.FromHost) // whether it is set, wireEnvironment says
			value = secret.New(text)
		}
		if (v.Ask || v.FromHost != "") && !value.Empty() && !provider.IsPlaceholder(value.Reveal()) { //nolint:forbidigo // looked at, and kept nowhere
			out = append(out, sidecars.Named{Name: name, Value: value})
		}
	}
	return out
}
