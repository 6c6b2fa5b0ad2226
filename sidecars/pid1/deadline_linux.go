package pid1

import "time"

// deadlineCheck is how often the clock is looked at.
const deadlineCheck = 500 * time.Millisecond

// awaitDeadline returns when either of two clocks says that until has come: the
// wall clock, which a machine that slept sets forward when it wakes, or the
// time that ran since the start, which nobody sets back. It returns false when
// stop is closed first.
func awaitDeadline(until time.Time, stop <-chan struct{}) bool {
	until = until.Round(0)
	running := time.Now().Add(time.Until(until)) // with the monotonic clock
	tick := time.NewTicker(deadlineCheck)
	defer tick.Stop()
	for {
		now := time.Now()
		if !now.Before(running) || !now.Round(0).Before(until) {
			return true
		}
		select {
		case <-stop:
			return false
		case <-time.After(time.Until(running)):
		case <-tick.C:
		}
	}
}
