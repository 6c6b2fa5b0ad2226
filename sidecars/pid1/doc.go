// Package pid1 is the init of a sidecar that is a machine of its own: the first
// process of a container or virtual machine beside the bottle.
//
// Lives here: reading the mounted configuration directory (reader, decode), the
// listeners, which the init owns so that no crash and no reload closes a port
// (listen), starting each daemon as an unprivileged child that gets its
// configuration and secrets through a socket pair (spawn, child, message),
// keeping it alive (service), reaping, signals and the end of the bottle
// (init), the daemons' side of that (daemon), what answers whether the sidecar
// is ready (status, ready), and the host's half: writing that directory and
// removing its secrets afterwards (hostdir). Does not live here: what a daemon
// does (sidecars/egress), how the machine came to be (backend).
//
// # What holds
//
// The init is the only process here with capabilities, and it takes nothing
// from the guest: no byte of a connection. A daemon that is down leaves its
// port open and unanswered: the guest waits, and nothing gets out another way.
// Secrets are in the init's memory, in the memory of the daemon that needs
// them, and for the moment of the start in the mounted directory; in no
// environment, argument or log. What a daemon says, on its socket or its
// standard error, is bounded and neutralised.
package pid1
