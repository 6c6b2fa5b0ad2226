// Package daemon is what runs inside a sidecar's jail: it takes configuration,
// secrets and listeners from the shim and serves them with the daemons of
// sidecars.
//
// Lives here: the sidecar's second stage. Does not: its walls (jail). It is a
// package of its own because the daemons bring net/http with them, which the
// other processes of a bottle start faster without.
package daemon
