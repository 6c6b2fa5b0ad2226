package walls

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// lastCap is above every capability of today's kernels (CAP_CHECKPOINT_RESTORE
// is 40); asking for an unknown one is EINVAL and ends the loop.
const lastCap = 63

// DropBounding empties the calling thread's bounding set, so that no execve
// can regain a capability. The thread must be locked and about to execve: the
// other threads keep theirs.
func DropBounding() error {
	for c := uintptr(0); c <= lastCap; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w", c, err)
		}
	}
	return nil
}

// CapMask is a set of capabilities as a bit mask.
type CapMask uint64

// Caps makes a mask of capability numbers (unix.CAP_…).
func Caps(numbers ...int) CapMask {
	var m CapMask
	for _, n := range numbers {
		m |= 1 << uint(n)
	}
	return m
}

// SetCaps sets the calling thread's effective, permitted and inheritable sets
// and clears its ambient set.
func SetCaps(permitted, inheritable CapMask) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := capData(permitted, inheritable)
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	return nil
}

func capData(permitted, inheritable CapMask) [2]unix.CapUserData {
	return [2]unix.CapUserData{
		{Effective: uint32(permitted), Permitted: uint32(permitted), Inheritable: uint32(inheritable)}, //nolint:gosec // halves of the mask
		{Effective: uint32(permitted >> 32), Permitted: uint32(permitted >> 32), Inheritable: uint32(inheritable >> 32)},
	}
}

// NoNewPrivs forbids gaining privileges by execve for the calling thread and
// what it executes.
func NoNewPrivs() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// Undumpable hides the process's memory, descriptors and environment from
// processes of the same user, and forbids core dumps.
func Undumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	return nil
}

// DieWithParent has the kernel kill this process when the thread that forked
// it ends.
func DieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set the parent-death signal: %w", err)
	}
	return nil
}
