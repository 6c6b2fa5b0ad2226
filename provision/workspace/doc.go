// Package workspace looks at a host directory before it is copied into a guest
// and decides what of it goes.
//
// Lives here: the rules about files that usually hold credentials, what has to
// happen to a git directory so that git works in its new place, and the limits of
// size and number. Does not live here: the copy itself (package archive), and
// which host directories a request may name (package provision).
//
// # Invariants
//
// Nothing is left out or changed without a reason in the report. A request can
// only ask for less: what looks like a credential is copied when the operator
// says so, never because a caller does. A directory in which git could not work
// is refused before anything is started, with what to do about it. The directory
// is hostile: it is walked without following links, what is read of it is
// bounded, and no program of its or git runs.
package workspace
