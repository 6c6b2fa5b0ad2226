package archive

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// modeNewDir is that of directories the stream does not describe, modeFilling
// what every directory has at least while it is filled.
const (
	modeNewDir  = 0o755
	modeFilling = 0o700
)

// maxName bounds a whole name; longer ones no tool could reach again.
const maxName = 4096

// refusal is why one entry is left out.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// splitName turns an entry's name into its elements; none is the top itself.
func splitName(name string) ([]string, error) {
	switch {
	case name == "":
		return nil, refuse("it has no name")
	case strings.HasPrefix(name, "/"):
		return nil, refuse("its name is absolute")
	case strings.ContainsRune(name, 0):
		return nil, refuse("its name holds a NUL byte")
	case len(name) > maxName:
		return nil, refuse("its name is longer than %d bytes", maxName)
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			return nil, refuse("its name holds '..'")
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) > maxDepth {
		return nil, refuse("it is nested deeper than %d directories", maxDepth)
	}
	return parts, nil
}

// checkLink says whether a link in a directory of the given depth stays below
// the top. ".." counts only in front: behind a name, which may be a link
// itself, its meaning is not known.
func checkLink(target string, depth int) error {
	if strings.HasPrefix(target, "/") {
		return refuse("it is a symbolic link to an absolute path")
	}
	named := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; named || depth < 0 {
				return refuse("it is a symbolic link that may lead out of the destination")
			}
		default:
			named = true
		}
	}
	return nil
}

// tree is the destination: its top and the open directories on the way to the
// last place used, because entries come directory by directory.
type tree struct {
	top   int
	names []string
	fds   []int
	// made is called for every directory that open makes.
	made func(fd int) error
}

func (t *tree) close() { t.cut(0) }

// cut closes what is open beyond the first n directories.
func (t *tree) cut(n int) {
	for _, fd := range t.fds[n:] {
		closeFD(fd)
	}
	t.names, t.fds = t.names[:n], t.fds[:n]
}

// dir returns the open directory parts, made where missing when create is
// set. It stays open until the next call.
func (t *tree) dir(parts []string, create bool) (int, error) {
	same := 0
	for same < min(len(parts), len(t.names)) && parts[same] == t.names[same] {
		same++
	}
	t.cut(same)
	fd := t.top
	if same > 0 {
		fd = t.fds[same-1]
	}
	for _, name := range parts[same:] {
		next, err := t.step(fd, name, create)
		if err != nil {
			return -1, err
		}
		t.names, t.fds = append(t.names, name), append(t.fds, next)
		fd = next
	}
	return fd, nil
}

func (t *tree) step(fd int, name string, create bool) (int, error) {
	next, err := openDirAt(fd, name)
	if errors.Is(err, unix.ENOENT) && create {
		return t.makeDir(fd, name)
	}
	return next, refuseParent(name, err)
}

// makeDir makes and opens a directory that is not there.
func (t *tree) makeDir(fd int, name string) (int, error) {
	if err := unix.Mkdirat(fd, name, modeNewDir); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, fmt.Errorf("make directory %q: %w", name, err)
	}
	next, err := openDirAt(fd, name)
	if err != nil {
		return -1, refuseParent(name, err)
	}
	if err := t.made(next); err != nil {
		closeFD(next)
		return -1, err
	}
	return next, nil
}

func refuseParent(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case unsafeSwap(err):
		return refuse("%q on the way to it is not a directory but a link or a file", bounded(name))
	case errors.Is(err, unix.ENOENT):
		return refuse("%q on the way to it does not exist", bounded(name))
	}
	return fmt.Errorf("open directory %q: %w", bounded(name), err)
}

// dirMeta is what a directory gets when everything is in place: its mode may
// forbid filling it, and filling it changes its time.
type dirMeta struct {
	parts []string
	mode  uint32
	mtime unix.Timespec
}

// sortMeta orders the deepest directories first, so that no mode locks the
// way to another, and keeps the last word where one is named twice.
func sortMeta(dirs []dirMeta) []dirMeta {
	slices.Reverse(dirs)
	slices.SortStableFunc(dirs, func(a, b dirMeta) int { return slices.Compare(b.parts, a.parts) })
	return slices.CompactFunc(dirs, func(a, b dirMeta) bool { return slices.Equal(a.parts, b.parts) })
}

func relName(parts []string) string {
	if len(parts) == 0 {
		return "."
	}
	return path.Join(parts...)
}
