package egress

import "sync"

// ending cuts an exchange short from outside of its own goroutine. The zero
// value is an exchange that nobody has cut.
type ending struct {
	mu   sync.Mutex // held while stopping, so that over means over
	why  *refusal
	stop func()
}

// onEnd says how the exchange is stopped from now on. Where it was cut already
// that happens at once.
func (e *ending) onEnd(stop func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stop = stop
	if e.why != nil {
		stop()
	}
}

// end stops the exchange; the first reason counts.
func (e *ending) end(why *refusal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.why != nil {
		return
	}
	e.why = why
	if e.stop != nil {
		e.stop()
	}
}

// over returns when the exchange is not being stopped and never will be.
func (e *ending) over() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stop = nil
}

// reason is nil for an exchange that nobody has cut.
func (e *ending) reason() *refusal {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.why
}

// err is reason as an error.
func (e *ending) err() error {
	if why := e.reason(); why != nil {
		return why
	}
	return nil
}
