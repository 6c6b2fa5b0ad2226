package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Directories below a home or workspace.
const (
	// DirName is the directory of manifests in a home or workspace.
	DirName    = ".bot-bottle"
	bottlesDir = "bottles"
	agentsDir  = "agents"
	suffix     = ".md"
)

// Loader finds manifests.
type Loader struct {
	// Home is the operator's directory of manifests, such as ~/.bot-bottle.
	Home string
}

// Bottle loads a bottle with all its parents.
func (l Loader) Bottle(name string) (*Bottle, error) { return l.resolve(name, nil) }

// one loads a single bottle file, or the built-in bottle.
func (l Loader) one(name string) (*Bottle, error) {
	file := filepath.Join(l.Home, bottlesDir, name+suffix)
	if !ValidName(name) {
		return nil, &Error{File: filepath.Join(l.Home, bottlesDir), Problem: fmt.Sprintf("%.80q is not the name of a bottle", name), Hint: "use a-z, 0-9 and '-', beginning with a letter"}
	}
	doc, err := read(file, plain(file))
	if errors.Is(err, fs.ErrNotExist) {
		if name == DefaultBottle {
			return &Bottle{Name: DefaultBottle, Env: map[string]EnvValue{}}, nil
		}
		return nil, &Error{File: file, Problem: fmt.Sprintf("there is no bottle %q", name), Hint: "known bottles: " + strings.Join(l.Bottles(), ", "), cause: fs.ErrNotExist}
	}
	if err != nil {
		return nil, err
	}
	return parseBottle(name, doc)
}

// Agent loads an agent: the operator's own, else the workspace's. The
// operator's wins, so that a repository cannot replace it by one of the same
// name. An empty workspace has none.
func (l Loader) Agent(name, workspace string) (*Agent, error) {
	file := filepath.Join(l.Home, agentsDir, name+suffix)
	if !ValidName(name) {
		return nil, &Error{File: filepath.Join(l.Home, agentsDir), Problem: fmt.Sprintf("%.80q is not the name of an agent", name), Hint: "use a-z, 0-9 and '-', beginning with a letter"}
	}
	doc, err := read(file, plain(file))
	if errors.Is(err, fs.ErrNotExist) && workspace != "" {
		doc, err = l.fromWorkspace(name, workspace)
	}
	if errors.Is(err, fs.ErrNotExist) {
		known := strings.Join(l.Agents(workspace), ", ")
		if known == "" {
			known = "none"
		}
		return nil, &Error{File: file, Problem: fmt.Sprintf("there is no agent %q", name), Hint: "known agents: " + known, cause: fs.ErrNotExist}
	}
	if err != nil {
		return nil, err
	}
	return parseAgent(name, doc)
}

// fromWorkspace reads inside the workspace only, whatever links it holds.
func (l Loader) fromWorkspace(name, workspace string) (document, error) {
	root, err := os.OpenRoot(workspace)
	if err != nil {
		return document{}, unreadable(workspace, err)
	}
	defer func() { _ = root.Close() }()
	path := filepath.Join(DirName, agentsDir, name+suffix)
	return read(filepath.Join(workspace, path), func(flag int) (*os.File, error) { return root.OpenFile(path, flag, 0) })
}

func plain(file string) opener {
	return func(flag int) (*os.File, error) { return os.OpenFile(file, flag, 0) }
}

// Warnings says what in a workspace is ignored although somebody put it there.
func (l Loader) Warnings(workspace string) []string {
	if workspace == "" {
		return nil
	}
	var out []string
	dir := filepath.Join(workspace, DirName, bottlesDir)
	if _, err := os.Lstat(dir); err == nil && filepath.Dir(dir) != filepath.Clean(l.Home) {
		out = append(out, dir+" is ignored: bottles are read from the operator's home only")
	}
	for _, name := range names(filepath.Join(workspace, DirName, agentsDir)) {
		if slices.Contains(names(filepath.Join(l.Home, agentsDir)), name) && filepath.Join(workspace, DirName) != filepath.Clean(l.Home) {
			out = append(out, fmt.Sprintf("agent %q of the workspace is ignored: the operator's home has one of that name", name))
		}
	}
	return out
}

// Bottles lists the names of the bottles that can be chosen.
func (l Loader) Bottles() []string {
	found := names(filepath.Join(l.Home, bottlesDir))
	if !slices.Contains(found, DefaultBottle) {
		found = append(found, DefaultBottle)
	}
	slices.Sort(found)
	return found
}

// Agents lists the names of the agents that can be chosen with a workspace.
func (l Loader) Agents(workspace string) []string {
	found := names(filepath.Join(l.Home, agentsDir))
	if workspace != "" {
		found = append(found, names(filepath.Join(workspace, DirName, agentsDir))...)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// names lists the manifests in a directory; one that is missing has none.
func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok && ValidName(name) && !e.IsDir() {
			out = append(out, name)
		}
	}
	return out
}
