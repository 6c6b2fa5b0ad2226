package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// guestRoot is a guest's file system seen from the host. Every path is resolved
// inside it, whatever symbolic links the guest has put there.
type guestRoot struct {
	rootfs string
	mounts []shape.Mount // what covers the root file system; nil where it is seen as mounted
}

// open opens a path of the guest.
func (g *guestRoot) open(name string, flags int) (*os.File, error) {
	root, inside := g.place(name)
	return openIn(root, inside, uint64(flags), 0)
}

// openIn opens a path below a directory, which no link leads out of.
func openIn(root, inside string, flags, mode uint64) (*os.File, error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", root, err)
	}
	defer func() { _ = unix.Close(fd) }()
	relative := strings.TrimPrefix(path.Join("/", inside), "/")
	if relative == "" {
		relative = "."
	}
	opened, err := unix.Openat2(fd, relative, &unix.OpenHow{
		Flags: flags | unix.O_CLOEXEC, Mode: mode, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s in the guest: %w", inside, err)
	}
	return os.NewFile(uintptr(opened), inside), nil
}

// place is the directory that a path lies in: that of the longest mount which
// covers it, else the root file system.
func (g *guestRoot) place(name string) (root, inside string) {
	name = path.Join("/", name)
	root, inside = g.rootfs, name
	longest := 0
	for _, m := range g.mounts {
		at := path.Join("/", m.Destination)
		rest, below := strings.CutPrefix(name, at)
		if !below || (rest != "" && rest[0] != '/') || len(at) < longest {
			continue
		}
		if info, err := os.Stat(m.Source); err == nil {
			longest, root, inside = len(at), m.Source, rest
			if !info.IsDir() {
				// A file is seen in its directory: openat2 starts at one.
				root, inside = path.Dir(m.Source), path.Base(m.Source)
			}
		}
	}
	return root, inside
}

// executable says whether a word is found and may be executed, by the search
// that execvp does.
func (g *guestRoot) executable(word string, env []string) bool {
	if word == "" {
		return false
	}
	if strings.Contains(word, "/") {
		return g.runnable(word)
	}
	search := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			search = value
		}
	}
	for dir := range strings.SplitSeq(search, ":") {
		if g.runnable(path.Join("/", dir, word)) {
			return true
		}
	}
	return false
}

func (g *guestRoot) runnable(name string) bool {
	file, err := g.open(name, unix.O_PATH)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// read reads a small regular file; the guest may have put anything there.
func (g *guestRoot) read(name string) (string, error) {
	file, err := g.open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(err, fmt.Errorf("%s in the guest is no file", name))
	}
	data, err := io.ReadAll(io.LimitReader(file, 1<<20))
	return string(data), err
}

// write replaces what is at a path by a file of root.
func (g *guestRoot) write(name, text string) error {
	if err := g.makeDirectory(path.Dir(name)); err != nil {
		return err
	}
	dir, err := g.open(path.Dir(name), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Unlinkat(int(dir.Fd()), path.Base(name), 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove %s in the guest: %w", name, err)
	}
	fd, err := unix.Openat(int(dir.Fd()), path.Base(name), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return fmt.Errorf("create %s in the guest: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	_, err = file.WriteString(text)
	return errors.Join(err, file.Chmod(0o644), file.Close())
}

// makeDirectory makes a directory of root and all above it, unless it is there.
func (g *guestRoot) makeDirectory(name string) error {
	root, inside := g.place(name)
	if file, err := openIn(root, inside, unix.O_PATH, 0); err == nil {
		return file.Close()
	}
	if path.Join("/", inside) == "/" {
		return fmt.Errorf("%s in the guest is no directory", name)
	}
	above := path.Dir(path.Join("/", name))
	if err := g.makeDirectory(above); err != nil {
		return err
	}
	dir, err := g.open(above, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Mkdirat(int(dir.Fd()), path.Base(name), 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make %s in the guest: %w", name, err)
	}
	return nil
}

// user resolves a user in the guest; numbers are taken as they are.
func (g *guestRoot) user(who shape.User, add []uint32) (uid, gid uint32, more []uint32, err error) {
	if who.Raw == nil {
		return who.ID.UID, who.ID.GID, add, nil
	}
	passwd, _ := g.read("/etc/passwd") // an image without has numbers only
	group, _ := g.read("/etc/group")
	uid, gid, more, err = lookup(who.Raw.UserString, passwd, group)
	return uid, gid, append(more, add...), err
}
