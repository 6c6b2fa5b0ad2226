// Package bottles is the daemon through which a bottle that may launch bottles
// reaches the MCP server of its host.
//
// Lives here: what of the guest's HTTP may pass (one path, three methods, a list
// of headers), its bounds, the token that is put on every request, streaming,
// and what the guest is told when the server is not there. Does not live here:
// how a connection to the server's socket comes about (backend/linux asks its
// shim for one, sidecars/pid1 opens the socket that was mounted), and what the
// server lets a bottle do (server, provision).
//
// # What holds
//
// Every connection goes through Options.Dial: nothing that the guest sends
// chooses an address. Nothing that it sends is a credential either: its own
// Authorization never passes, and the token is in no answer. A request is read
// whole before the server hears of it, so that a guest that sends slowly holds
// nothing of the host.
package bottles
