package walls

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// Program is this program's file as a mount of its own, not attached anywhere.
type Program struct{ fd int }

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
	return &Program{fd: fd}, nil
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

// Become takes the identity of uid and gid id, all threads at once, with no
// supplementary groups. It keeps the capabilities where the id is not 0 too.
func Become(id int) error {
	if _, _, errno := psx.Syscall3(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0); errno != 0 {
		return fmt.Errorf("keep capabilities: %w", errno)
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("drop supplementary groups: %w", err)
	}
	if err := syscall.Setresgid(id, id, id); err != nil {
		return fmt.Errorf("become group %d: %w", id, err)
	}
	if err := syscall.Setresuid(id, id, id); err != nil {
		return fmt.Errorf("become user %d: %w", id, err)
	}
	return restoreEffective()
}

// restoreEffective makes the kept permitted set effective again: leaving or
// not having uid 0 clears it.
func restoreEffective() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	p := CapMask(data[0].Permitted) | CapMask(data[1].Permitted)<<32
	return SetCapsAllThreads(p, p)
}
