package main

import "golang.org/x/sys/unix"

// Requests of terminals, which each system numbers in its own way.
const (
	getTermios = unix.TIOCGETA
	setTermios = unix.TIOCSETA
)

// dropTyped throws away what was typed and nobody has read.
func dropTyped(fd int) error {
	const input = 1 // FREAD of sys/fcntl.h
	return unix.IoctlSetPointerInt(fd, unix.TIOCFLUSH, input)
}
