package provider

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// Where an operator's own providers stand, below the directory of manifests.
const (
	contribDir = "contrib"
	fileOfOwn  = "provider.yaml"
)

// maxDockerfile is what engines take.
const maxDockerfile = 16<<10 - 1

//go:embed builtin
var builtin embed.FS

// Generic is the provider for any command.
const Generic = "generic"

// BuiltIn lists the providers that need no file.
func BuiltIn() []string {
	entries, err := builtin.ReadDir("builtin")
	if err != nil {
		return nil // it is part of the program
	}
	var out []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".yaml"); ok {
			out = append(out, name)
		}
	}
	return out
}

// Loader finds providers.
type Loader struct {
	// Home is the operator's directory of manifests, such as ~/.bot-bottle.
	Home string
}

// Names lists the providers that can be chosen.
func (l Loader) Names() []string {
	out := BuiltIn()
	entries, err := os.ReadDir(filepath.Join(l.Home, contribDir))
	if err != nil {
		return out
	}
	for _, e := range entries {
		if manifest.ValidName(e.Name()) {
			if _, err := os.Lstat(l.file(e.Name())); err == nil {
				out = append(out, e.Name())
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (l Loader) file(name string) string {
	return filepath.Join(l.Home, contribDir, name, fileOfOwn)
}

// Load loads a provider. What is wrong comes as manifest.Errors or a
// *manifest.Error.
func (l Loader) Load(name string) (*Provider, error) {
	if !manifest.ValidName(name) {
		return nil, &manifest.Error{File: filepath.Join(l.Home, contribDir), Problem: "the name of the provider is not one", Hint: "use a-z, 0-9 and '-', beginning with a letter"}
	}
	_, err := os.Lstat(l.file(name))
	own := !errors.Is(err, fs.ErrNotExist)
	switch {
	case slices.Contains(BuiltIn(), name) && own:
		return nil, &manifest.Error{File: l.file(name), Problem: fmt.Sprintf("the provider %q is built in and cannot be replaced", name), Hint: "give the directory another name and use that as agent_provider.template"}
	case slices.Contains(BuiltIn(), name):
		return loadBuiltIn(name)
	case !own:
		return nil, &manifest.Error{File: l.file(name), Problem: fmt.Sprintf("there is no provider %q", name), Hint: manifest.Suggest(name, "provider", l.Names())}
	}
	return l.own(name)
}

func loadBuiltIn(name string) (*Provider, error) {
	data, err := builtin.ReadFile("builtin/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("read the built-in provider %s: %w", name, err)
	}
	p, err := Parse(name, "built-in provider "+name, data)
	if err != nil {
		return nil, err
	}
	if p.DockerfilePath != "" {
		text, err := builtin.ReadFile("builtin/" + p.DockerfilePath)
		if err != nil {
			return nil, fmt.Errorf("read the Dockerfile of the built-in provider %s: %w", name, err)
		}
		p.Dockerfile = string(text)
	}
	p.File, p.DockerfilePath = "", ""
	return p, nil
}

func (l Loader) own(name string) (*Provider, error) {
	dirs := []string{l.Home, filepath.Join(l.Home, contribDir), filepath.Join(l.Home, contribDir, name)}
	data, err := manifest.ReadOwn(l.file(name), dirs...)
	if err != nil {
		return nil, err
	}
	p, err := Parse(name, l.file(name), data)
	if err != nil {
		return nil, err
	}
	if p.DockerfilePath == "" {
		return p, nil
	}
	p.DockerfilePath = filepath.Join(l.Home, contribDir, name, p.DockerfilePath)
	text, err := manifest.ReadOwn(p.DockerfilePath)
	if err != nil {
		return nil, err
	}
	if len(text) > maxDockerfile {
		return nil, &manifest.Error{File: p.DockerfilePath, Problem: fmt.Sprintf("it is larger than %d bytes", maxDockerfile), Hint: "shorten it"}
	}
	p.Dockerfile = string(text)
	return p, nil
}
