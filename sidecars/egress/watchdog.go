package egress

import (
	"sync"
	"sync/atomic"
	"time"
)

// watchdog calls bark once when nothing has touched it for a while. Touching
// costs one atomic store, so that it can be done per read.
type watchdog struct {
	limit time.Duration
	start time.Time
	last  atomic.Int64 // nanoseconds since start
	bark  func()

	mu    sync.Mutex // held while barking, so that stop means stopped
	timer *time.Timer
}

func newWatchdog(limit time.Duration, bark func()) *watchdog {
	w := &watchdog{limit: limit, start: time.Now(), bark: bark}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(limit, w.check)
	return w
}

func (w *watchdog) touch() { w.last.Store(int64(time.Since(w.start))) }

func (w *watchdog) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		return
	}
	quiet := time.Since(w.start) - time.Duration(w.last.Load())
	if left := w.limit - quiet; left > 0 {
		w.timer.Reset(left)
		return
	}
	w.bark()
}

// stop returns when bark does not run and never will.
func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}
