//go:build !linux

package main

import "golang.org/x/sys/unix"

// kernelRelease is `uname -r`.
func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}

// seesProcesses reports that processes can be searched here: elsewhere than on
// Linux bottles are machines of their own, not processes of this one.
func (leftoverFinder) seesProcesses() bool { return false }

func (leftoverFinder) processes() []process { return nil }
func (leftoverFinder) mounts() []string     { return nil }
func (leftoverFinder) cgroups() []string    { return nil }

func alive([]process) []process { return nil }
