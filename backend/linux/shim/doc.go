// Package shim is the host process of one Linux bottle. It outlives the server
// that started it, owns the guest and the sidecar, ends them at the bottle's
// expiry, and answers servers on a socket in the bottle's state directory.
//
// Lives here: both ends of that socket, and the start and end of the bottle's
// processes. Does not: what the guest (guest) and the sidecar (jail) do.
//
// The guest is hostile: its events are bounded frames that can only name jobs
// which this process started. When the shim dies, by whatever, the kernel
// kills guest and sidecar.
package shim
