package ledger

import "time"

// syncEvery is how long a line may be in memory only; refusals come sooner,
// but not each by itself: whoever is refused much must not keep the disk busy.
const (
	syncEvery = time.Second
	syncSoon  = 50 * time.Millisecond
)

// touched says that there is something to sync.
func (l *Ledger) touched(soon bool) {
	signal(l.dirty)
	if soon {
		signal(l.urgent)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// syncLoop has what was written on the disk within syncEvery, beside the
// writer: a slow disk holds up no request until syncing fails.
func (l *Ledger) syncLoop() {
	for {
		select {
		case <-l.done:
			return
		case <-l.dirty:
		}
		l.rest()
		err := l.store.sync()
		if l.behind.Store(err != nil); err != nil {
			signal(l.dirty)
		}
	}
}

// rest waits for more to sync.
func (l *Ledger) rest() {
	timer := time.NewTimer(syncEvery)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
	case <-l.urgent:
		timer.Reset(syncSoon)
		select {
		case <-l.done:
		case <-timer.C:
		}
	}
}
