// Package selftest is the isolation probe: the static binary runs it inside
// the guest at every launch, as the agent and as uid 0, and its result is part
// of the bottle.
//
// # Verdicts
//
// Every check names one thing that must not be possible, tries it and is green
// only when the kernel refused at once. Where a guest has no network at all
// (Spec.Network is false) a time-out is red: it means that a packet may have
// left. A guest with a network has a default route on purpose, and a time-out
// there is closed. That something refused a connection is red in both: it was
// reached, and may listen tomorrow. The one machine a guest may reach is its
// sidecar, and of that one only the ports that serve it.
//
// # Guests that are machines
//
// In a guest with a kernel of its own (Spec.OwnKernel) kernel threads, kernel
// files and user namespaces are the guest's, so checks of them are left out or
// look only for what would give a command back what was taken from it.
//
// # Does not live here
//
// When the probe runs and what a red check leads to (provision), and how it is
// started in the guest (the backends). The result comes out of the guest, so
// the host reads it with DecodeResult, which checks that no check is missing.
package selftest
