package walls

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Program is this program's file as a mount of its own, not attached anywhere,
// and the shared libraries it needs, which is none in a static build.
type Program struct {
	fd   int
	libs map[string]int // path → mount
}

// CloneProgram takes hold of this program's file for a root filesystem that is
// yet to be built. /proc/self/exe cannot be bound after entering a mount
// namespace, because it belongs to the one it was executed from; its path can,
// and only while this process still has the host user's rights to walk it.
func CloneProgram() (*Program, error) {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("find this program's file: %w", err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if errors.Is(err, unix.ENOENT) && strings.HasSuffix(path, " (deleted)") {
		return nil, fmt.Errorf("this program's file was replaced while it ran: restart the server: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("clone the mount of this program's file: %w", err)
	}
	p := &Program{fd: fd, libs: map[string]int{}}
	for _, lib := range mappedLibraries() {
		if p.libs[lib], err = unix.OpenTree(unix.AT_FDCWD, lib, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC); err != nil {
			return nil, fmt.Errorf("clone the mount of %s: %w", lib, err)
		}
	}
	return p, nil
}

// mappedLibraries lists the shared libraries of a build with cgo, as go run and
// go test make them where there is a C compiler.
func mappedLibraries() []string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(maps)) {
		i := strings.IndexByte(line, '/')
		if i < 0 {
			continue
		}
		path := strings.TrimSpace(line[i:])
		if strings.Contains(filepath.Base(path), ".so") && !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	return out
}

// PlaceWithLibraries is Place below an otherwise empty root, where the dynamic
// loader finds what it needs.
func (p *Program) PlaceWithLibraries(root, path string) error {
	for lib, fd := range p.libs {
		if err := (&Program{fd: fd}).placeNew(root + lib); err != nil {
			return err
		}
	}
	if len(p.libs) > 0 {
		if err := linkLoader(root); err != nil {
			return err
		}
	}
	return p.placeNew(root + path)
}

// linkLoader puts a link where the program's header names its dynamic loader;
// what is mapped is the loader's real path.
func linkLoader(root string) error {
	file, err := elf.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("read this program's header: %w", err)
	}
	defer func() { _ = file.Close() }()
	section := file.Section(".interp")
	if section == nil {
		return nil
	}
	data, err := section.Data()
	if err != nil {
		return fmt.Errorf("read the dynamic loader's name: %w", err)
	}
	name := strings.TrimRight(string(data), "\x00")
	target, err := filepath.EvalSymlinks(name)
	if err != nil || target == name {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(root+name), 0o755); err != nil { //nolint:gosec // directories of a jail
		return fmt.Errorf("make the dynamic loader's place: %w", err)
	}
	if err := os.Symlink(target, root+name); err != nil {
		return fmt.Errorf("link the dynamic loader: %w", err)
	}
	return nil
}

// placeNew makes the file to attach to.
func (p *Program) placeNew(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // directories of a jail
		return fmt.Errorf("make the place of %s: %w", path, err)
	}
	if err := os.WriteFile(path, nil, 0o555); err != nil { //nolint:gosec // a mount point
		return fmt.Errorf("make the place of %s: %w", path, err)
	}
	return p.Place(path)
}

// Place attaches the program, read-only, over the existing file at path.
func (p *Program) Place(path string) error {
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(p.fd, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return fmt.Errorf("make this program read-only (needs Linux 5.12): %w", err)
	}
	if err := unix.MoveMount(p.fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("put this program at %s: %w", path, err)
	}
	return unix.Close(p.fd)
}

// Become takes the identity of uid and gid id for the calling thread, with no
// supplementary groups and with its capabilities kept. The thread must be
// locked and about to execve: the other threads stay who they are.
func Become(id int) error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	n := uintptr(id)
	for _, call := range []struct {
		what       string
		trap       uintptr
		a1, a2, a3 uintptr
	}{
		{"drop supplementary groups", unix.SYS_SETGROUPS, 0, 0, 0},
		{"become the group", unix.SYS_SETRESGID, n, n, n},
		{"become the user", unix.SYS_SETRESUID, n, n, n},
	} {
		if _, _, errno := unix.Syscall(call.trap, call.a1, call.a2, call.a3); errno != 0 {
			return fmt.Errorf("%s %d: %w", call.what, id, errno)
		}
	}
	return restoreEffective()
}

// restoreEffective makes the kept permitted set effective again: a change of
// user ids clears it.
func restoreEffective() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	p := CapMask(data[0].Permitted) | CapMask(data[1].Permitted)<<32
	return SetCaps(p, p)
}
