package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

const (
	queueLength = 256
	// addWait is how long a request waits for a place in the queue, and who
	// learns of a refusal for its line.
	addWait = time.Second
	// closeWait bounds Close.
	closeWait = 2 * time.Second
	// gatherWait is how long a line for which nobody waits is kept for others to
	// be written with: at most so much of what is over is lost with its process.
	// What is only allowed, and goes on, is written at once.
	gatherWait = 2 * time.Millisecond
	// retryWait is between two tries to write what could not be written.
	retryWait = 50 * time.Millisecond
	// checkpointEvery is the number of decisions between two checkpoints.
	checkpointEvery = 256
)

// Options are what a Ledger needs. Bottle, and Files or Out, are required.
type Options struct {
	Bottle string
	// Policy is what the start of the ledger names as the policy in force.
	Policy string
	// Program is the version of the program that writes.
	Program string
	// Files are those of Names, in that order.
	Files []File
	// Out takes the lines when there are no Files: as one stream, from its
	// genesis on, without rotation.
	Out io.Writer
	// SegmentBytes is the size of one file. Default 64 MiB.
	SegmentBytes int64
	// How decisions are recorded.
	sidecars.LedgerPolicy
}

// Ledger is this process's writer. Decisions go through a queue to one
// goroutine, so that a request waits for no disk; what waits together is
// written together.
type Ledger struct {
	opts   Options
	store  store
	queue  chan item
	done   chan struct{}
	giveUp chan struct{}
	ending chan struct{} // closed by Close
	dirty  chan struct{}
	urgent chan struct{}
	hurry  chan struct{} // something in the queue is to be written at once
	failed atomic.Bool
	behind atomic.Bool // the last sync failed
	lost   atomic.Int64

	mu      sync.RWMutex // held for reading while adding, for writing to close
	closed  bool
	started bool

	w writer // belongs to the goroutine
}

// item is a line on its way, and who waits until it is there.
type item struct {
	kind    Type
	d       sidecars.Decision
	policy  string
	written chan struct{} // nil when nobody waits
}

// CheckPolicy refuses what no ledger can do.
func CheckPolicy(p sidecars.LedgerPolicy) error {
	switch p.OnFull {
	case "", sidecars.OnFullRefuse, sidecars.OnFullContinue:
	default:
		return fmt.Errorf("a full ledger can %q or %q, not %.40q", sidecars.OnFullRefuse, sidecars.OnFullContinue, p.OnFull)
	}
	switch p.Sync {
	case "", sidecars.SyncBatch, sidecars.SyncAlways, sidecars.SyncNever:
	default:
		return fmt.Errorf("a ledger is synced %q, %q or %q, not %.40q", sidecars.SyncBatch, sidecars.SyncAlways, sidecars.SyncNever, p.Sync)
	}
	return nil
}

// New checks opts. It neither reads nor writes.
func New(opts Options) (*Ledger, error) {
	if opts.Bottle == "" {
		return nil, errors.New("the ledger is no bottle's; name one")
	}
	if err := CheckPolicy(opts.LedgerPolicy); err != nil {
		return nil, err
	}
	opts.OnFull = cmp.Or(opts.OnFull, sidecars.OnFullRefuse)
	opts.Sync = cmp.Or(opts.Sync, sidecars.SyncBatch)
	l := &Ledger{
		opts: opts, queue: make(chan item, queueLength), done: make(chan struct{}), giveUp: make(chan struct{}), ending: make(chan struct{}),
		dirty: make(chan struct{}, 1), urgent: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
	}
	switch {
	case len(opts.Files) > 0:
		l.store = &files{all: opts.Files, limit: cmp.Or(opts.SegmentBytes, segmentBytes), reuse: opts.OnFull == sidecars.OnFullContinue}
	case opts.Out != nil:
		l.store = &stream{out: opts.Out}
	default:
		return nil, errors.New("the ledger has neither files nor a stream; give it one")
	}
	l.w = writer{opts: &l.opts, store: l.store, lost: &l.lost}
	return l, nil
}

// Start goes to the end of what is there, repairs a last line that was cut
// short, writes that this process begins, and begins to write decisions. A
// ledger that was tampered with is an error; one that is full, or on a disk
// that is, is not healthy.
func (l *Ledger) Start() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started || l.closed {
		return errors.New("this ledger has been started already; make a new one")
	}
	// A stream may not be read yet: its genesis goes with the first decision.
	if _, ok := l.store.(*files); ok {
		err := l.w.write(nil)
		if err != nil && !errors.Is(err, ErrFull) && !errors.Is(err, errUnwritable) {
			return err
		}
		l.failed.Store(err != nil)
		l.touched(false)
	}
	l.started = true
	go l.run()
	if l.opts.Sync == sidecars.SyncBatch {
		go l.syncLoop()
	}
	return nil
}

// Healthy reports whether what is added now will be recorded, or need not be.
func (l *Ledger) Healthy() bool {
	if l.opts.OnFull == sidecars.OnFullContinue {
		return true
	}
	return !l.failed.Load() && !l.behind.Load() && l.lost.Load() == 0
}

// Add queues one decision. When there is no place for a second it is counted
// as lost, which the next line tells.
func (l *Ledger) Add(d sidecars.Decision) { l.enqueue(item{d: d}) }

// AddNow is Add, and waits until the line is written: who learns of a refusal
// finds its record. It waits no longer than a second, and not at all while nothing
// can be written: the line then comes when it can.
func (l *Ledger) AddNow(d sidecars.Decision) { l.enqueueNow(item{d: d}) }

// Begin records that an allowed exchange goes on. d names it.
func (l *Ledger) Begin(d sidecars.Decision) { l.enqueue(item{kind: TypeBegin, d: d}) }

// BeginNow is Begin, and waits as AddNow does.
func (l *Ledger) BeginNow(d sidecars.Decision) { l.enqueueNow(item{kind: TypeBegin, d: d}) }

// Progress records what such an exchange has moved so far.
func (l *Ledger) Progress(d sidecars.Decision) { l.enqueue(item{kind: TypeProgress, d: d}) }

// Policy records that another policy is in force for what is added after it.
func (l *Ledger) Policy(digest string) { l.enqueueNow(item{kind: TypePolicy, policy: digest}) }

func (l *Ledger) enqueueNow(e item) {
	e.written = make(chan struct{})
	if !l.enqueue(e) || !l.running() || l.failed.Load() {
		return
	}
	timer := time.NewTimer(addWait)
	defer timer.Stop()
	select {
	case <-e.written:
	case <-timer.C:
	}
}

// running reports whether somebody writes what is queued.
func (l *Ledger) running() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.started
}

// enqueue reports whether the line will be written.
func (l *Ledger) enqueue(e item) bool {
	cleanDecision(&e.d)
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return false
	}
	select {
	case l.queue <- e:
		if !e.patient() || len(l.queue) > queueLength/2 {
			signal(l.hurry)
		}
		return true
	default:
	}
	signal(l.hurry)
	if l.failed.Load() {
		l.lost.Add(1) // nobody has to wait for what fails
		return false
	}
	timer := time.NewTimer(addWait)
	defer timer.Stop()
	select {
	case l.queue <- e:
		return true
	case <-timer.C:
		l.lost.Add(1)
		return false
	}
}

// patient reports whether a line may wait for others: it tells of something that
// is over and was allowed, and nobody waits for it.
func (e *item) patient() bool {
	return e.kind == TypeDecision && e.written == nil && e.d.Verdict == sidecars.Allow
}

// linger waits for more to write with a first line.
func (l *Ledger) linger(first *item) {
	if !first.patient() || l.opts.Sync == sidecars.SyncAlways {
		return
	}
	timer := time.NewTimer(gatherWait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.hurry:
	case <-l.ending:
	}
}

// run writes until Close. A batch that cannot be written is tried again until
// it can: it is not lost, and what comes meanwhile waits in the queue.
func (l *Ledger) run() {
	defer close(l.done)
	for first := range l.queue {
		l.linger(&first)
		batch := l.gather(first)
		for !l.try(batch) {
			select {
			case <-l.giveUp:
				return
			case <-time.After(retryWait):
			}
		}
	}
	if err := l.w.stop(); err != nil {
		l.failed.Store(true)
	}
	if l.opts.Sync != sidecars.SyncNever && l.store.sync() != nil {
		l.failed.Store(true)
	}
}

// gather takes what waits in the queue.
func (l *Ledger) gather(first item) []item {
	batch := append(make([]item, 0, 16), first)
	for len(batch) < queueLength {
		select {
		case next, ok := <-l.queue:
			if !ok {
				return batch
			}
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

// try writes a batch. Whoever waits is told in any case.
func (l *Ledger) try(batch []item) bool {
	err := l.w.write(batch)
	if err == nil && l.opts.Sync == sidecars.SyncAlways {
		l.behind.Store(l.store.sync() != nil)
	}
	l.failed.Store(err != nil)
	denied := false
	for i := range batch {
		if batch[i].written != nil {
			close(batch[i].written)
			batch[i].written = nil
		}
		denied = denied || batch[i].d.Verdict == sidecars.Deny
	}
	if err == nil {
		l.touched(denied)
	}
	return err == nil
}

// Close writes what is queued and the last line. The error means that lines
// were lost.
func (l *Ledger) Close() error {
	l.mu.Lock()
	started := l.started
	if !l.closed {
		l.closed = true
		close(l.ending)
		close(l.queue)
	}
	l.mu.Unlock()
	if !started {
		return nil
	}
	select {
	case <-l.done:
		if l.failed.Load() {
			return errors.New("the ledger could not be written to its end; look for space on its disk")
		}
		return nil
	case <-time.After(closeWait):
		select {
		case <-l.giveUp:
		default:
			close(l.giveUp)
		}
		return errors.New("the ledger takes no more lines, the last decisions are lost; look at its disk, or at who reads it")
	}
}
