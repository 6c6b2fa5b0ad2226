package state

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// startOf is the start time by the wall clock; "" when there is no such
// process.
func startOf(pid int) string {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid {
		return ""
	}
	start := info.Proc.P_starttime
	return fmt.Sprintf("%d.%06d", start.Sec, start.Usec)
}
