package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// CopyIn copies a file or directory of the host into a running container: onto
// the root file system, beneath whatever is mounted there. A file is root's
// with mode 0644 whatever it was; a directory's content keeps the host's
// numeric owners.
func (e *Engine) CopyIn(id, source, destination string) error {
	root, err := e.rootfs(id)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	info, err := os.Stat(source)
	if err != nil {
		return Failf(NotFound, "source path does not exist: %s", source)
	}
	to, err := target(root, inRoot(destination), filepath.Base(filepath.Clean(source)), info.IsDir(), strings.HasSuffix(destination, "/"))
	if err != nil {
		return err
	}
	if err := root.MkdirAll(path.Dir(to), 0o755); err != nil {
		return because(err, "failed to copy to %s", destination)
	}
	if !info.IsDir() {
		return copyFile(root, source, to)
	}
	from, err := os.OpenRoot(source)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	return copyTree(from, ".", root, to)
}

// CopyOut copies a file or directory of a running container to the host, where
// it is the caller's.
func (e *Engine) CopyOut(id, source, destination string) error {
	root, err := e.rootfs(id)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	from := inRoot(source)
	info, err := root.Stat(from)
	if err != nil {
		return Failf(NotFound, "source path does not exist in the container: %s", source)
	}
	parent, err := os.OpenRoot(filepath.Dir(filepath.Clean(destination)))
	if err != nil {
		return because(err, "failed to copy to %s", destination)
	}
	defer func() { _ = parent.Close() }()
	to, err := target(parent, filepath.Base(filepath.Clean(destination)), path.Base(from), info.IsDir(), strings.HasSuffix(destination, "/"))
	if err != nil {
		return err
	}
	if info.IsDir() {
		return copyTree(root, from, parent, to)
	}
	in, err := root.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return writeFile(parent, to, in, 0o644)
}

// rootfs is the root file system of a running container as the host has it,
// without what is mounted in the guest.
func (e *Engine) rootfs(id string) (*os.Root, error) {
	if _, err := e.container(id); err != nil {
		return nil, err
	}
	r, err := e.alive(id)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, Failf(InvalidState, "container %s is not running", id)
	}
	text, err := os.ReadFile(e.containerPath(id, fileRootfs))
	if err != nil {
		return nil, err
	}
	return os.OpenRoot(string(text))
}

func inRoot(name string) string {
	if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
		return "."
	}
	return name
}

// target is where a copy goes: into a directory that exists, else to the name.
func target(root *os.Root, name, base string, dir, slash bool) (string, error) {
	info, err := root.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return path.Join(name, base), nil
	case err == nil && dir:
		return "", Failf(InvalidArgument, "destination is not a directory: %s", name)
	case errors.Is(err, fs.ErrNotExist) && slash && !dir:
		return "", Failf(InvalidArgument, "destination directory does not exist: %s", name)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", because(err, "failed to copy to %s", name)
	}
	return name, nil
}

func copyFile(root *os.Root, source, to string) error {
	in, err := os.Open(source)
	if err != nil {
		return because(err, "failed to copy %s", source)
	}
	defer func() { _ = in.Close() }()
	return writeFile(root, to, in, 0o644)
}

// writeFile keeps owner and mode of a file that is there.
func writeFile(root *os.Root, to string, in io.Reader, mode fs.FileMode) error {
	out, err := root.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return because(err, "failed to write %s", to)
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// copyTree copies a directory with owners, modes and symbolic links; special
// files are left out.
func copyTree(from *os.Root, source string, root *os.Root, to string) error {
	return fs.WalkDir(from.FS(), source, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, name)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		at := path.Join(to, relative)
		if err := copyEntry(from, name, root, at, info); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
		return nil
	})
}

func copyEntry(from *os.Root, name string, root *os.Root, at string, info fs.FileInfo) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		link, err := from.Readlink(name)
		if err != nil {
			return err
		}
		if err := root.Symlink(link, at); err != nil {
			return err
		}
	case info.IsDir():
		if err := root.MkdirAll(at, 0o755); err != nil {
			return err
		}
	case info.Mode().IsRegular():
		in, err := from.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		if err := writeFile(root, at, in, info.Mode().Perm()); err != nil {
			return err
		}
	default:
		return nil
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		if err := root.Lchown(at, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	return root.Chmod(at, info.Mode().Perm())
}
