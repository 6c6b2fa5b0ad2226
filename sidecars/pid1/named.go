package pid1

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// What the files of sidecars.Named begin with, beside the tokens. They go on with
// a number, which keeps their order and makes them differ, and the name.
const (
	knownPrefix  = "known-"
	canaryPrefix = "canary-"
	// maxNamed bounds the bytes of a secret that a sidecar is told: a longer one
	// is recognised by its beginning.
	maxNamed = 8 << 10
	// maxNamedName bounds the name in a file's.
	maxNamedName = 40
)

// plainNamed is sidecars.Named in a startMessage.
type plainNamed struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func revealNamed(all []sidecars.Named) []plainNamed {
	var out []plainNamed
	for _, n := range all {
		out = append(out, plainNamed{n.Name, n.Value.Reveal()})
	}
	return out
}

func sealNamed(all []plainNamed) []sidecars.Named {
	var out []sidecars.Named
	for _, n := range all {
		out = append(out, sidecars.Named{Name: n.Name, Value: secret.New(n.Value)})
	}
	return out
}

// isNamed reports whether a file beside the tokens is none.
func isNamed(slot string) bool {
	return strings.HasPrefix(slot, knownPrefix) || strings.HasPrefix(slot, canaryPrefix)
}

// namedFiles gives each of them a file.
func namedFiles(prefix string, all []sidecars.Named) ([]configFile, error) {
	var files []configFile
	for i, n := range all {
		name := fmt.Sprintf("%s%03d-%s", prefix, i, n.Name[:min(len(n.Name), maxNamedName)])
		if err := checkSlot(name); err != nil {
			return nil, err
		}
		value := n.Value.Reveal()
		files = append(files, configFile{name, []byte(value[:min(len(value), maxNamed)])})
	}
	return files, nil
}

// takeNamed moves what is no token out of the tokens.
func takeNamed(tokens map[string]secret.Value, prefix string) []sidecars.Named {
	var out []sidecars.Named
	for _, slot := range slices.Sorted(maps.Keys(tokens)) {
		rest, ok := strings.CutPrefix(slot, prefix)
		if !ok {
			continue
		}
		if _, name, numbered := strings.Cut(rest, "-"); numbered {
			rest = name
		}
		out = append(out, sidecars.Named{Name: rest, Value: tokens[slot]})
		delete(tokens, slot)
	}
	return out
}
