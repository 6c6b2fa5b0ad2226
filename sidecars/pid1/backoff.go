package pid1

import "time"

// timing is how long the init waits for what.
type timing struct {
	// grace is from SIGTERM to SIGKILL at the end of the sidecar.
	grace time.Duration
	// farewell is the same for one daemon that was replaced, and for all of
	// them when the bottle has expired.
	farewell time.Duration
	// drain is how long a replaced daemon may finish what it has begun.
	drain time.Duration
	// start is how long a daemon may take until it serves.
	start time.Duration
	// device is how long an interface may take to get its address.
	device time.Duration
	// firstPause and lastPause are the shortest and the longest time between
	// the death of a daemon and its next start.
	firstPause, lastPause time.Duration
	// healthy is how long a daemon must have served for its death to count as
	// the first.
	healthy time.Duration
}

func defaultTiming() timing {
	return timing{
		grace: 8 * time.Second, farewell: 3 * time.Second, drain: 5 * time.Minute,
		start: 10 * time.Second, device: 10 * time.Second,
		firstPause: 100 * time.Millisecond, lastPause: 10 * time.Second, healthy: 30 * time.Second,
	}
}

// nextPause is the time to wait after a daemon that served for so long, when
// the pause before was last.
func (t timing) nextPause(last, served time.Duration) time.Duration {
	if last == 0 || served >= t.healthy {
		return t.firstPause
	}
	return min(2*last, t.lastPause)
}
