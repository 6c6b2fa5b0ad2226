// Package linux is the embedded backend: bottles made of Linux namespaces by
// this program itself, as root or as an ordinary user, without packages, image
// or daemon.
//
// Lives here: the backend's methods, which talk to one shim process per
// bottle. The processes themselves live below: shim (host side), guest (PID 1
// and the root filesystem), jail (the sidecar's walls), walls, cgroup, frame.
//
// The network is fd topology: the guest's network namespace has a loopback
// interface and nothing else, PID 1 opens the services' listeners there and
// passes their descriptors out, and the sidecar accepts on them from outside.
// There is no bridge, route, address or resolver to get wrong.
package linux
