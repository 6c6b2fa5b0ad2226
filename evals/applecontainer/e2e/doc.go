// Package e2e holds the tests of bottle-mcp, as its users start it, on the
// Linux stand-in of Apple's container: the whole main job over MCP, the faults
// that must turn the isolation self-test red, and launchers that are killed.
// It has no code of its own and knows the product by its public surface only.
//
// The tests run with BOTTLE_MCP_STANDIN=1, as root with Podman.
package e2e
