// Package selftest is the isolation probe: the static binary runs it inside
// the guest at every launch, as the agent and as uid 0, and its result is part
// of the bottle.
//
// # Verdicts
//
// Every check names one thing that must not be possible, tries it and is green
// only when the kernel refused at once. Where a guest has no network at all
// (Spec.Canary is "") a time-out is red: it means that a packet may have left.
// With a canary a default route is expected and a time-out is closed.
//
// # Does not live here
//
// When the probe runs and what a red check leads to (provision), and how it is
// started in the guest (the backends). The result comes out of the guest, so
// the host reads it with DecodeResult, which checks that no check is missing.
package selftest
