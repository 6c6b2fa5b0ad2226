// Package subbottles shows sub-bottles end to end, on any backend: a scripted
// supervisor in a bottle launches three bottles of its own through
// BOTTLE_MCP_URL, gives each a task, collects what they made into its own file
// system, and finds that it can neither widen what it may nor reach anybody
// else's.
//
// Lives here: the operator's side of it (Run), and in supervisor the program that
// works inside. Does not live here: a backend's own conformance, and the algebra
// of what a child may (provision).
package subbottles
