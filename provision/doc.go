// Package provision turns manifests and requests into plans, and plans into
// live bottles.
//
// # Lives here
//
// Planning (what the operator's manifests allow, narrowed by a request), the
// launch with its ordered steps and full rollback, the environment of a guest,
// the isolation self-test's verdict, copies between host and guest, the list
// of bottles, and their removal. Manager is all of it.
//
// # Does not live here
//
// Engine commands (backend), what a tool says to a model (tools), the format
// of manifests (provision/manifest), the files of the store (provision/state)
// and the probe itself (provision/selftest).
//
// # Invariants
//
// A request only narrows: every host, limit and time of a plan is within the
// operator's manifest. A bottle is handed over only after its self-test was
// green; until then no call reaches it. A launch that fails or is cancelled
// leaves nothing, or a record that says what is left. Secret values go from
// the host's environment to the sidecar and nowhere else: no plan, record, log
// line or error holds one.
package provision
