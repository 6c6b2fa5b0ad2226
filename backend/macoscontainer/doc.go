// Package macoscontainer runs bottles with Apple's container program: every
// container is a virtual machine of its own.
//
// Lives here: what a bottle is on that engine: two networks or a relayed
// socket, a sidecar container, an agent container, their names, labels and
// files, and the checks of a Mac. The program's command line is package cli,
// its grammar package grammar, images and the builder package images, and what
// runs inside the guests backend/vmguest and sidecars/pid1.
//
// # Objects
//
// A bottle "x" is the containers bot-bottle-x and bot-bottle-sidecars-x and the
// networks bot-bottle-x (host-only) and bot-bottle-egress-x (NAT). All carry
// labels with the owner and the bottle. An object is ours only when both its
// name and its labels say so; nothing else is ever stopped or deleted.
//
// # Topologies
//
// two-network: the agent sits on the host-only network and reaches the sidecar
// by the address that inspect shows. Host-only networks are known to let
// traffic out, or the host's services in, on some releases; the self-test of
// every launch decides. socket: the agent has no network at all; the engine
// relays a UNIX socket of the sidecar into it, and a relay in the guest listens
// on 127.0.0.1.
package macoscontainer
