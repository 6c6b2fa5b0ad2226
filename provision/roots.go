package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// roots are the host directories that requests may touch, with all symbolic
// links resolved.
type roots struct {
	allowed []string
	// protected hold what bounds requests: the manifests and the state. They
	// stay out of reach also where they lie inside a root.
	protected []string
}

func newRoots(allowed, protected []string) (roots, error) {
	var r roots
	for _, dir := range allowed {
		abs, err := filepath.Abs(dir)
		if err == nil {
			abs, err = filepath.EvalSymlinks(abs)
		}
		if err != nil {
			return r, fmt.Errorf("workspace root %s cannot be used: %w", dir, err)
		}
		if info, err := os.Stat(abs); err != nil || !info.IsDir() {
			return r, fmt.Errorf("workspace root %s is not a directory: name one", dir)
		}
		if abs == string(filepath.Separator) {
			return r, fmt.Errorf("workspace root %s is the whole file system: name the directories that bottles may use", dir)
		}
		r.allowed = append(r.allowed, abs)
	}
	for _, dir := range protected {
		abs, err := filepath.Abs(dir)
		if err == nil {
			abs, err = resolveExisting(abs)
		}
		if err != nil {
			return r, fmt.Errorf("protect %s: %w", dir, err)
		}
		r.protected = append(r.protected, abs)
	}
	return r, nil
}

// hostPath is a path inside a root.
type hostPath struct {
	root string // one of roots.allowed
	rel  string // below it, without links; "." is the root
}

func (h hostPath) String() string { return filepath.Join(h.root, h.rel) }

// open opens the root. Whatever changes on the disk after the path was
// resolved, what is reached through an os.Root stays inside it.
func (h hostPath) open() (*os.Root, error) { return os.OpenRoot(h.root) }

// access says what a path is for.
type access int

const (
	forReading access = iota
	forWriting
)

// resolve turns a request's path into one inside the roots. It need not exist
// when it is for writing.
func (r roots) resolve(field, path string, to access) (hostPath, error) {
	if len(r.allowed) == 0 {
		return hostPath{}, &InvalidError{Field: field, Problem: "the operator allows no host directory; leave it out, or ask the operator to start the server with one"}
	}
	if path == "" || strings.ContainsRune(path, 0) || slices.Contains(strings.Split(filepath.ToSlash(path), "/"), "..") {
		return hostPath{}, &InvalidError{Field: field, Problem: fmt.Sprintf("%.200q is not accepted: write a path without '..' and NUL", path), Allowed: r.allowed}
	}
	abs := filepath.Clean(path)
	if !filepath.IsAbs(abs) {
		abs = filepath.Join(r.allowed[0], abs)
	}
	target, err := resolveExisting(abs)
	if err != nil {
		return hostPath{}, &InvalidError{Field: field, Problem: fmt.Sprintf("%.200q cannot be used: %v", path, err)}
	}
	for _, root := range r.allowed {
		if rel, ok := below(root, target); ok {
			return hostPath{root: root, rel: rel}, r.checkProtected(field, path, target, to)
		}
	}
	return hostPath{}, &InvalidError{Field: field, Problem: fmt.Sprintf("%.200q lies outside the directories that the operator allows", path), Allowed: r.allowed}
}

func (r roots) checkProtected(field, path, target string, to access) error {
	for _, p := range r.protected {
		_, inside := below(p, target)
		_, around := below(target, p)
		if inside || (around && to == forWriting) {
			return &InvalidError{Field: field, Problem: fmt.Sprintf("%.200q holds or is part of this program's own files; name another directory", path)}
		}
	}
	return nil
}

// below gives path relative to dir when it is dir or below it.
func below(dir, path string) (string, bool) {
	rel, err := filepath.Rel(dir, path)
	if err != nil || !filepath.IsLocal(rel) {
		return "", false
	}
	return rel, true
}

// resolveExisting resolves the links of the part of abs that exists and keeps
// the rest.
func resolveExisting(abs string) (string, error) {
	rest := ""
	for at := abs; ; at = filepath.Dir(at) {
		target, err := filepath.EvalSymlinks(at)
		if err == nil {
			return filepath.Join(target, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			return "", cause(err)
		}
		if _, err := os.Lstat(at); err == nil {
			return "", errors.New("it holds a symbolic link that leads nowhere")
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// cause strips the path from a path error: the caller names it.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// directory resolves a path that must be an existing directory.
func (r roots) directory(field, path string) (hostPath, error) {
	h, err := r.resolve(field, path, forReading)
	if err != nil {
		return h, err
	}
	root, err := h.open()
	if err != nil {
		return h, &InvalidError{Field: field, Problem: fmt.Sprintf("%.200q cannot be opened: %v", path, cause(err))}
	}
	defer func() { _ = root.Close() }()
	info, err := root.Stat(h.rel)
	if err != nil {
		return h, &InvalidError{Field: field, Problem: fmt.Sprintf("%.200q cannot be read: %v", path, cause(err))}
	}
	if !info.IsDir() {
		return h, &InvalidError{Field: field, Problem: fmt.Sprintf("%.200q is not a directory", path)}
	}
	return h, nil
}
