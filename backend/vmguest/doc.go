// Package vmguest is both halves of the contract with a guest that is a machine
// of its own engine, where the host can do nothing but start processes through
// the engine's exec.
//
// Lives here: the guest's half, hidden verbs of the static binary ("guest idle",
// "guest run", "guest signal", "guest home", "guest roots"), which are Linux
// only; and the host's half, which builds their argument vectors and reads what
// they say, on every platform. Does not live here: the engine's command line and
// which user it starts a verb as, which are the backend's.
//
// # A command's status
//
// Engines mix the command's exit code with their own. So every command runs
// below "guest run", which ends what it writes to standard error with a trailer:
// a record separator, a fixed text, the command's token, the status as JSON and
// a newline. StderrFilter takes trailers out of the stream. The last one counts,
// because a process that the command left behind may still write.
//
// The token is not a secret towards the command: every process of the guest can
// read it from the wrapper's command line, and the command owns the stream. A
// hostile command can therefore lie about its own status, and about that of
// another command of the same user whose standard error it opens; so it could
// by ending with any code it likes, or by killing and tracing its neighbour. It
// cannot reach another user's command, and its trailer is bounded and strictly
// decoded, so that a lie is all it is. What the token prevents is that output
// (a file that holds a trailer, a log of an earlier command) is ever taken for a
// status.
//
// # A command's tree
//
// The wrapper is a child subreaper: as long as it lives, everything the command
// started descends from it, however often it forks and calls setsid. In case the
// command kills its own wrapper (they are of the same user), its processes also
// bear a marker made from the token, a value of a resource limit that nothing
// can raise again. Whoever kills the wrapper and lowers the marker gets away, as
// does who hides in another command's process; such a process ends with the
// bottle.
//
// When the main process ends by itself, what it left behind lives on, below the
// guest's init. When the command is ended from outside, its whole tree ends.
package vmguest
