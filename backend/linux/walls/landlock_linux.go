package walls

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Access rights of Landlock by the ABI that brought them (landlock(7)).
const (
	fileRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	fileWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM
)

// LandlockVersion is the kernel's Landlock ABI, 0 when there is none.
func LandlockVersion() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// handled is every file access right the ABI knows.
func handled(version int) uint64 {
	rights := uint64(fileRead | fileWrite)
	if version >= 2 {
		rights |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		rights |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 5 {
		rights |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return rights
}

// Restrict raises a Landlock wall for the calling thread and what it executes:
// reading and executing below the ro paths, everything below the rw paths,
// nothing else. no_new_privs must be set. On a kernel without Landlock it does
// nothing; the mounts are the first wall. It makes the system calls itself,
// since a library that restricts all threads looks for them in /proc, which is
// not the process's own in a new pid namespace.
func Restrict(ro, rw []string) error {
	version := LandlockVersion()
	if version == 0 {
		return nil
	}
	all := handled(version)
	attr := unix.LandlockRulesetAttr{Handled_access_fs: all}
	// The first field alone: every ABI knows it.
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, ptr(&attr), 8, 0)
	if errno != 0 {
		return fmt.Errorf("make a Landlock rule set: %w", errno)
	}
	defer func() { _ = unix.Close(int(fd)) }()
	var errs []error
	for _, path := range ro {
		errs = append(errs, allowBeneath(int(fd), path, fileRead))
	}
	for _, path := range rw {
		errs = append(errs, allowBeneath(int(fd), path, all))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("raise the Landlock wall: %w", errno)
	}
	return nil
}

func allowBeneath(ruleset int, path string, rights uint64) error {
	dir, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s for a Landlock rule: %w", path, err)
	}
	defer func() { _ = unix.Close(dir) }()
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(dir)} //nolint:gosec // a descriptor
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, ptr(&rule), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("add a Landlock rule for %s: %w", path, errno)
	}
	return nil
}
