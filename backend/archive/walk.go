package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// Entry is one entry of a tree, as Walk finds it. It is valid during the visit.
type Entry struct {
	// Name is relative to the source, with slashes.
	Name string
	// Type is fs.ModeDir, fs.ModeSymlink, 0 for a regular file, or
	// fs.ModeIrregular for what Pack leaves out.
	Type fs.FileMode
	Size int64 // of a regular file

	dir  int
	base string
}

// Head returns the first bytes of a regular file, at most limit of them.
func (e Entry) Head(limit int) ([]byte, error) {
	if e.Type != 0 {
		return nil, fmt.Errorf("read %q: %w", bounded(e.Name), fs.ErrInvalid)
	}
	fd, err := openAt(e.dir, e.base, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", bounded(e.Name), err)
	}
	defer closeFD(fd)
	// What was looked at may have been replaced by a pipe since.
	if info, err := fstat(fd); err != nil || info.kind != unix.S_IFREG {
		return nil, fmt.Errorf("read %q: %w", bounded(e.Name), errors.Join(err, fs.ErrInvalid))
	}
	buf := make([]byte, min(int64(limit), max(e.Size, 0)+1))
	n := 0
	for n < len(buf) {
		got, err := pread(fd, buf[n:], int64(n))
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", bounded(e.Name), err)
		}
		if got == 0 {
			break
		}
		n += got
	}
	return buf[:n], nil
}

// Walk visits what Pack would pack, in the same order, by the same names and
// without following links: what a directory holds, or the one entry. visit may return fs.SkipDir to pass by a directory, or the rest
// of the one that it was given something of; any other error ends the walk. What cannot be read is passed by, as Pack reports it.
func Walk(ctx context.Context, src Source, visit func(Entry) error) error {
	dir, base, err := openSource(src)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	w := &walker{ctx: ctx, visit: visit}
	fd := int(dir.Fd())
	info, err := lstatAt(fd, base)
	if err != nil {
		return fmt.Errorf("walk %s: %w", src.Name, &fs.PathError{Op: "lstat", Path: src.Name, Err: err})
	}
	if info.kind != unix.S_IFDIR {
		return w.entry(place{fd: fd}, base)
	}
	top, err := openDirAt(fd, base)
	if err != nil {
		return fmt.Errorf("walk %s: %w", src.Name, &fs.PathError{Op: "open", Path: src.Name, Err: err})
	}
	defer closeFD(top)
	return w.content(place{fd: top})
}

// walker is one run of Walk.
type walker struct {
	ctx   context.Context
	visit func(Entry) error
}

func (w *walker) content(at place) error {
	names, _ := readNames(at.fd)
	slices.Sort(names)
	for _, name := range names {
		if err := w.ctx.Err(); err != nil {
			return fmt.Errorf("walk stopped: %w", context.Cause(w.ctx))
		}
		err := w.entry(at, name)
		if errors.Is(err, fs.SkipDir) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(at place, name string) error {
	info, err := lstatAt(at.fd, name)
	if err != nil {
		return nil // Pack reports it
	}
	e := Entry{Name: path.Join(at.rel, name), Type: fs.ModeIrregular, dir: at.fd, base: name}
	switch info.kind {
	case unix.S_IFREG:
		e.Type, e.Size = 0, info.size
	case unix.S_IFDIR:
		e.Type = fs.ModeDir
	case unix.S_IFLNK:
		e.Type = fs.ModeSymlink
	}
	if err := w.visit(e); err != nil {
		if errors.Is(err, fs.SkipDir) && e.Type == fs.ModeDir {
			return nil
		}
		return err
	}
	if e.Type != fs.ModeDir || at.depth+1 > maxDepth {
		return nil
	}
	fd, err := openDirAt(at.fd, name)
	if err != nil {
		return nil
	}
	defer closeFD(fd)
	return w.content(place{fd: fd, rel: e.Name, depth: at.depth + 1})
}
