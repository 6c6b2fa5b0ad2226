package provider

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode"
)

const maxPath = 255

// checkPath reports why p is no place below a guest's home. The guest's own user
// writes there, so a link in it leads nowhere that this user could not go; a
// path by itself must not even try.
func checkPath(p string) error {
	switch {
	case p == "" || len(p) > maxPath:
		return fmt.Errorf("a path has 1 to %d bytes", maxPath)
	case strings.HasPrefix(p, "/"):
		return errors.New("a path is relative to the guest's home; an absolute one could lead out of it")
	case strings.HasPrefix(p, "~"):
		return errors.New(`a path is relative to the guest's home already; leave "~" out`)
	case strings.ContainsFunc(p, unicode.IsControl) || strings.ContainsAny(p, `\{}`):
		return errors.New(`a path holds no control characters, no '\' and no variables`)
	case slices.Contains(strings.Split(p, "/"), ".."):
		return errors.New(`".." would lead out of the guest's home`)
	case !fs.ValidPath(p) || p == ".":
		return errors.New(`a path has no empty parts, no "." and no '/' at its end`)
	}
	if first, _, _ := strings.Cut(p, "/"); first == workspaceDir {
		return errors.New("the workspace is the operator's, nothing is written into it")
	}
	return nil
}

// workspaceDir is the workspace below the home.
const workspaceDir = "workspace"

// inside reports whether a is b or lies below it.
func inside(a, b string) bool { return a == b || strings.HasPrefix(a, b+"/") }

// clash reports two places of which one would have to be a file and a directory
// at once. Equal ones are the caller's to judge.
func clash(a, b string) bool { return a != b && (inside(a, b) || inside(b, a)) }
