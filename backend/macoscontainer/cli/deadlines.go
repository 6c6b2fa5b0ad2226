package cli

import "time"

// Deadlines of the calls. Most of the program's own waits for its daemon have
// none, and those that exist do not fire reliably, so each is the program's
// limit and some time on top, or what the work may reasonably take behind the
// daemon's one lock.
const (
	versionDeadline = 10 * time.Second // prints a constant; `system version` asks the daemon for 2 s
	statusDeadline  = 15 * time.Second // the daemon has 10 s
	listDeadline    = 15 * time.Second // the daemon has 10 s
	networkDeadline = 70 * time.Second // the daemon has 60 s to start the network's service

	runDeadline    = 120 * time.Second // other machines may boot first
	killDeadline   = 30 * time.Second  // a signal, behind the lock
	deleteDeadline = 60 * time.Second  // kills, waits for the machine's end, removes its disk
	stopMargin     = 15 * time.Second  // on top of the grace: the machine shuts down after it
	copyDeadline   = 310 * time.Second // the program has 300 s
	logsDeadline   = 30 * time.Second  // the file has no bound and is read whole

	imageDeadline     = 30 * time.Second // reads manifests of every image
	imageLoadDeadline = 5 * time.Minute  // unpacks an archive into the store
	buildDeadline     = 30 * time.Minute // downloads and compiles
	builderDeadline   = 5 * time.Minute  // may fetch the builder's image, then boots it
)

// execGrace is short: who cancels a command is promised its end within a second.
const execGrace = time.Second
