// Package guest is PID 1 of a Linux bottle.
//
// Lives here: what happens inside the bottle's namespaces, in two stages. The
// first ("guest init") opens the listeners in the empty network namespace,
// builds the root filesystem, raises the walls and executes the second from
// the bottle's own read-only copy of this program. The second ("guest serve")
// runs commands, reaps and kills whole process trees. Does not live here:
// namespaces' creation and anything on the host, which is the shim's.
//
// Invariant: no foreign code runs before every wall stands, and the second
// stage holds no capability beyond what starting and killing commands of
// other users needs.
package guest
