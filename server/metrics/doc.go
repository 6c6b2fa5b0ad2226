// Package metrics counts what happens and shows it in Prometheus' text format.
//
// Lives here: the counters and their bounds, what is counted of launches, tool
// calls and ledgers, and the HTTP handler. Does not live here: who tells of it
// (provision, tools) and where it listens (cmd). It is on the host's side only:
// no guest and no sidecar reaches it.
//
// The format is small and stable, and written here instead of with Prometheus'
// client library, whose dependencies outweigh it many times.
package metrics
