// Package agenthost writes this program's entry into the configuration of the
// programs that start MCP servers: Claude Code, Codex, Cursor and others.
//
// # Lives here
//
// What is known of each host (its files, its format, how it passes a variable
// by name), and editors for JSON, JSON with comments and TOML that change the
// one entry and not a byte of anything else.
//
// # Does not live here
//
// Flags and what people read (cmd/bottle-mcp), and what the server does once a
// host has started it.
//
// # The invariant
//
// A host's file belongs to its user. A file that is not understood is refused
// and left as it is; an edit whose result would differ in anything but the
// entry is refused as well. No value of a variable is ever written, only names.
package agenthost
