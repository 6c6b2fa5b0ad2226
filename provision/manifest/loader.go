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
func (l Loader) Bottle(name string) (*Bottle, error) { return l.resolver().bottle(name) }

// one loads a single bottle file, or the built-in bottle.
func (l Loader) one(name string) (*Bottle, error) {
	dir := filepath.Join(l.Home, bottlesDir)
	doc, err := l.own(bottlesDir, name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && name == DefaultBottle:
		return builtIn(), nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, l.absent(noSuch("bottle", name, filepath.Join(dir, name+suffix), l.Bottles()))
	case err != nil:
		return nil, err
	}
	return parseBottle(name, doc)
}

// own reads a file of the home. All directories that lead to it from there must
// be the operator's, too: whoever can write to one can replace the file.
func (l Loader) own(dir, name string) (document, error) {
	kind := strings.TrimSuffix(dir, "s")
	dir = filepath.Join(l.Home, dir)
	if !ValidName(name) {
		return document{}, &Error{File: dir, Problem: fmt.Sprintf("%.80q is not the name of a %s", masked(name), kind), Hint: "use a-z, 0-9 and '-', beginning with a letter"}
	}
	for _, d := range []string{l.Home, dir} {
		if err := trustedDir(d); err != nil {
			return document{}, err
		}
	}
	return own(filepath.Join(dir, name+suffix)).read()
}

// ErrNoAgent means that no file is an agent of the name.
var ErrNoAgent = fmt.Errorf("no such agent: %w", fs.ErrNotExist)

// Agent loads an agent: the operator's own, else the workspace's. The
// operator's wins, so that a repository cannot replace it by one of the same
// name. An empty workspace has none.
func (l Loader) Agent(name, workspace string) (*Agent, error) {
	doc, err := l.own(agentsDir, name)
	if errors.Is(err, fs.ErrNotExist) && workspace != "" {
		doc, err = l.fromWorkspace(name, workspace)
	}
	if errors.Is(err, fs.ErrNotExist) {
		e := l.absent(noSuch("agent", name, filepath.Join(l.Home, agentsDir, name+suffix), l.Agents(workspace)))
		e.cause = ErrNoAgent
		return nil, e
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
	return source{
		file: filepath.Join(workspace, path),
		open: func(flag int) (*os.File, error) { return root.OpenFile(path, flag, 0) },
	}.read()
}

// absent completes the report of a name that nothing has: it may stand in a file
// of the old format.
func (l Loader) absent(e *Error) *Error {
	e.cause = fs.ErrNotExist
	if old := l.stale(); len(old) > 0 {
		e.Hint += "; " + old[0]
	}
	return e
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

// names lists the manifests in a directory; one that is missing has none. What
// is no file by its name only stands there as well, so that its problem is told.
func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok && ValidName(name) {
			out = append(out, name)
		}
	}
	return out
}
