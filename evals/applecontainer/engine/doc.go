// Package engine is what stands behind the stand-in's command line: the part
// that is a daemon, a network helper and a runtime helper on a Mac. It makes
// real containers with rootful Podman, whose specification a hook rewrites so
// that a process finds what it finds in Apple's guest: its capabilities, no
// seccomp profile, no no_new_privs, its own hosts and resolv.conf, mounts in
// order. Networks are bridges with a firewall of their own, not Podman's: on
// Podman's internal networks there is no route and container names resolve,
// on Apple's it is the other way round.
//
// There is no daemon. Whatever changes something is done by a process of its
// own session (Serve), so that the death of the program that asked interrupts
// it no more than on a Mac; one file lock is the daemon's one lock. Every
// running container has a helper (RunRuntime) that holds its relays and
// published ports and cleans up behind it. All of them are this one program,
// told apart by the name it is run under (Role).
//
// Does not live here: the command line (the program), the documents printed
// (shape), and the faults' files (faults).
package engine
