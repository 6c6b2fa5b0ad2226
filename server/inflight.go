package server

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Causes of a call's end, for context.Cause.
var (
	errCancelledByClient = errors.New("cancelled by the client")
	errSessionEnded      = errors.New("the session has ended")
	errStopping          = errors.New("the server is stopping")
)

// Bounds of what a register remembers.
const (
	maxRemembered = 256
	earlyWindow   = 5 * time.Second
)

// inflight is a peer's register of running requests. The front enters a request
// before it reads the next message, so a cancel that follows finds it. Over
// HTTP the cancel's POST can also overtake the call's: there, a cancel for an id
// never seen is kept for a moment and cancels the call as it begins.
type inflight struct {
	mu      sync.Mutex
	running map[string]context.CancelCauseFunc
	ended   bool
	// early holds cancels that overtook their call; nil where messages come in
	// order. seen holds the newest ids, oldest first, to know the late cancels.
	early map[string]time.Time
	seen  []string
}

// errDuplicateID is an id that is still in use.
var errDuplicateID = errors.New("a request with this id is still running; use a new id")

// begin enters a request and derives its context.
func (f *inflight) begin(ctx context.Context, key string) (context.Context, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, errSessionEnded
	}
	if _, running := f.running[key]; running {
		return nil, errDuplicateID
	}
	ctx, cancel := context.WithCancelCause(ctx)
	if f.running == nil {
		f.running = make(map[string]context.CancelCauseFunc)
	}
	f.running[key] = cancel
	if f.overtaken(key) {
		cancel(errCancelledByClient)
	}
	return ctx, nil
}

// overtaken says whether a cancel for key came first. It is called under the
// lock.
func (f *inflight) overtaken(key string) bool {
	if f.early == nil {
		return false
	}
	f.seen = append(f.seen, key)
	if len(f.seen) > maxRemembered {
		f.seen = slices.Delete(f.seen, 0, len(f.seen)-maxRemembered)
	}
	at, ok := f.early[key]
	delete(f.early, key)
	return ok && time.Since(at) < earlyWindow
}

// end takes a request out and frees its context.
func (f *inflight) end(key string) {
	f.mu.Lock()
	cancel := f.running[key]
	delete(f.running, key)
	f.mu.Unlock()
	if cancel != nil {
		cancel(context.Canceled)
	}
}

// cancel is the client's notifications/cancelled. One for a request that has
// ended is normal and does nothing.
func (f *inflight) cancel(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cancel, ok := f.running[key]; ok {
		cancel(errCancelledByClient)
		return
	}
	if f.early == nil || slices.Contains(f.seen, key) {
		return
	}
	if len(f.early) >= maxRemembered {
		clear(f.early)
	}
	f.early[key] = time.Now()
}

// endAll cancels everything that runs and refuses what comes.
func (f *inflight) endAll(cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for _, cancel := range f.running {
		cancel(cause)
	}
}

// gauge counts what runs, so that a stop can wait for it with a deadline.
type gauge struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // closed at zero; nil when nobody waits
}

func (g *gauge) enter() {
	g.mu.Lock()
	g.n++
	g.mu.Unlock()
}

func (g *gauge) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.zero != nil {
		close(g.zero)
		g.zero = nil
	}
}

// wait returns how many still run when all have ended or ctx has.
func (g *gauge) wait(ctx context.Context) int {
	g.mu.Lock()
	if g.n == 0 {
		g.mu.Unlock()
		return 0
	}
	if g.zero == nil {
		g.zero = make(chan struct{})
	}
	zero := g.zero
	g.mu.Unlock()
	select {
	case <-zero:
		return 0
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}
