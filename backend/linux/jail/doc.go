// Package jail is the sidecar process of a Linux bottle.
//
// Lives here: how the process that holds the bottle's credentials is walled
// in. It keeps the host's network, since it is the bottle's way out, and
// nothing else of the host: own user, mount, pid, ipc, uts and cgroup
// namespaces, an empty read-only root with only the resolver's files and the CA
// bundle (and this program), no capability, seccomp, Landlock, a memory limit.
// Does not live here: what the daemons do (sidecars/egress).
package jail
