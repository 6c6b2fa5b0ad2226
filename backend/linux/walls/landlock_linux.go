package walls

import (
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// LandlockVersion is the kernel's Landlock ABI, 0 when there is none.
func LandlockVersion() int {
	v, err := llsys.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return v
}

// Restrict raises a Landlock wall: reading and executing below the ro paths,
// everything below the rw paths, nothing else. It holds for the whole process
// and its children. On a kernel without Landlock it does nothing; the mounts
// are the first wall.
func Restrict(ro, rw []string) error {
	if LandlockVersion() == 0 {
		return nil
	}
	err := landlock.V5.BestEffort().RestrictPaths(
		landlock.RODirs(ro...).IgnoreIfMissing(),
		landlock.RWDirs(rw...).WithRefer().WithIoctlDev().IgnoreIfMissing(),
	)
	if err != nil {
		return fmt.Errorf("raise the Landlock wall: %w", err)
	}
	return nil
}
