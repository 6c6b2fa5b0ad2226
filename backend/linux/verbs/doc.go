// Package verbs dispatches the processes of a Linux bottle that this program is
// started as, all but the sidecar's daemons.
//
// It depends on little, so that a program can run it before its own heavy
// packages initialise: each launch starts several of these processes, and
// initialising an MCP server's dependencies in each would triple its time.
package verbs
