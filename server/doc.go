// Package server publishes tools over the Model Context Protocol, on stdio and
// on streamable HTTP.
//
// Lives here: both transports and what guards them (bearer token, Host and
// Origin checks, session gate, limits, graceful stop), the order in which
// messages are taken, cancelled and answered, progress, argument validation
// with text a model can act on, recovery, and the checks of the published
// surface at start. Does not live here: what a tool does or says (tools), and
// who may touch which bottle (provision).
//
// mcp-go's MCPServer answers each single message (HandleMessage); its
// transports are not used. They lose, reorder and cross-wire progress, key
// cancellation by ids clients choose, let five slow calls freeze stdio and run
// a call on the read loop when a queue is full. Here, every request of either
// transport goes the same way: the front (stdio.go, endpoint.go) parses it and
// enters it in its peer's register before the next message is read, so that no
// cancel overtakes its call; a goroutine of its own answers it under an id that
// is unique in the process; progress and answer leave through one ordered
// outbox.
package server
