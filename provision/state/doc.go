// Package state keeps what this program knows of its bottles on the host's
// disk: one private directory per bottle below
// $XDG_STATE_HOME/bottle-mcp/bottles.
//
// # Lives here
//
// The store and its owner id, the record of a bottle (metadata.json), the lock
// of a bottle, listing, removal, and safe access to the files in a bottle's
// directory. The directory is shared with the bottle's backend, which keeps
// files of its own there.
//
// # Does not live here
//
// What a bottle is and when it may be removed (provision), and whether it
// lives (backend).
//
// # Invariants
//
// Several servers may share one store. Whoever launches or removes a bottle
// holds its lock, a flock on the bottle's directory, which the kernel releases
// with the process; so a record in the middle of a launch whose lock is free
// belongs to a server that died. Records are replaced as a whole and read
// without the lock. No symbolic link is followed below the store. No record
// holds a secret.
package state
