package provision

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// Observer is told what happens, to count it. It must not block.
type Observer interface {
	// Launched tells of a launch that is over; err is nil when it was handed
	// over.
	Launched(backend string, elapsed time.Duration, err error)
	// Recorded tells of each line of a bottle's ledger, once.
	Recorded(id backend.ID, e *ledger.Entry)
	// Damaged tells that a bottle's ledger was tampered with.
	Damaged(id backend.ID)
	// Present tells which bottles there are, and in which phase.
	Present(phases map[backend.ID]string)
}

// nobody is an Observer that looks away.
type nobody struct{}

func (nobody) Launched(string, time.Duration, error) {}
func (nobody) Recorded(backend.ID, *ledger.Entry)    {}
func (nobody) Damaged(backend.ID)                    {}
func (nobody) Present(phases map[backend.ID]string)  {}

// watchEvery is how often the ledgers are looked at.
const watchEvery = time.Second

// witness reads the ledgers of bottles, checks that lines are only ever added,
// and keeps their heads where the sidecars cannot reach them.
type witness struct {
	store *state.Store
	log   *slog.Logger
	tell  Observer
	now   func() time.Time

	mu   sync.Mutex
	seen map[backend.ID]*watched
}

// watched is a ledger as far as it was read.
type watched struct {
	created  int64 // of the bottle, since an id can be used again
	follower *ledger.Follower
	kept     ledger.Anchor
}

// Watch looks at the ledgers of all bottles until ctx ends. One server of a
// state directory is enough; several do no harm.
func (m *Manager) Watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		m.witness.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look reads what was added to every ledger.
func (w *witness) look() {
	entries, err := w.store.List()
	if err != nil {
		w.log.Warn("the ledgers cannot be looked for", "error", err)
		return
	}
	phases := map[backend.ID]string{}
	for i := range entries {
		e := &entries[i]
		if e.Err != nil {
			continue
		}
		phases[e.ID] = string(e.Record.Phase)
		w.poll(e.ID, e.Record.Created)
	}
	w.tell.Present(phases)
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.seen {
		if _, there := phases[id]; !there {
			delete(w.seen, id)
		}
	}
}

// poll reads what was added to one ledger, and keeps its head.
func (w *witness) poll(id backend.ID, created time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	files, err := w.store.OpenLedger(id)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		w.log.Warn("a ledger cannot be read", "bottle", id, "error", err)
		return
	}
	defer func() { _ = closers(files).Close() }()
	r, err := ledger.NewReader(files)
	if err != nil {
		w.log.Warn("a ledger cannot be read", "bottle", id, "error", err)
		return
	}
	one := w.of(id, created.UnixNano())
	w.read(id, one, r)
}

// of is what is known of a ledger, also from servers before this one.
func (w *witness) of(id backend.ID, created int64) *watched {
	if one := w.seen[id]; one != nil && one.created == created {
		return one
	}
	one := &watched{created: created, follower: ledger.NewFollower(nil)}
	known, err := w.store.ReadAnchor(id)
	switch {
	case err == nil && known.Bottle == string(id):
		one.follower, one.kept = ledger.NewFollower(&known), known
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		w.log.Warn("what was seen of a ledger before cannot be read", "bottle", id, "error", err)
	}
	w.seen[id] = one
	return one
}

func (w *witness) read(id backend.ID, one *watched, r *ledger.Reader) {
	err := one.follower.Poll(r, func(e *ledger.Entry) { w.tell.Recorded(id, e) })
	if err != nil {
		w.tell.Damaged(id)
	}
	head, ok := one.follower.Anchor()
	if !ok && err != nil {
		head = one.kept // nothing of it is what it was
		head.Bottle, head.Broken = string(id), err.Error()
	}
	if head.Seq == one.kept.Seq && head.Hash == one.kept.Hash && head.Broken == one.kept.Broken {
		return
	}
	if head.Broken != "" {
		w.log.Error("a bottle's ledger was tampered with; run 'bottle-mcp ledger verify'", "bottle", id, "last", head.Seq, "why", head.Broken)
	}
	head.Time = w.now().UTC()
	if err := w.store.WriteAnchor(id, head); err != nil {
		w.log.Warn("the head of a ledger cannot be kept", "bottle", id, "error", err)
		return
	}
	one.kept = head
}

// last reads the end of a ledger before its bottle is removed, and leaves its
// head in this program's own log.
func (w *witness) last(id backend.ID, created time.Time) {
	w.poll(id, created)
	w.mu.Lock()
	defer w.mu.Unlock()
	if one := w.seen[id]; one != nil {
		c := one.follower.Counts()
		w.log.Info("ledger of a bottle that is removed", "bottle", id, "lines", one.follower.Seen(), "head", one.kept.Hash,
			"allowed", c.Allowed, "denied", c.Denied, "bytes_out", c.BytesOut, "bytes_in", c.BytesIn)
	}
}
