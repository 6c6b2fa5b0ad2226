package main

import "golang.org/x/sys/unix"

// Requests of terminals, which each system numbers in its own way.
const (
	getTermios = unix.TCGETS
	setTermios = unix.TCSETS
)

// dropTyped throws away what was typed and nobody has read.
func dropTyped(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) }
