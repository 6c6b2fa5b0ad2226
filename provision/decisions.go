package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// Bounds of what is read of an egress log at once.
const (
	maxLogWindow = 4 << 20   // of one command, and of the newest lines
	maxLogCount  = 256 << 20 // counted per call
	maxRefusals  = 200
	maxLogLines  = 1000
)

// denyMark is in the line of every refusal and, since JSON escapes quotes, in
// no other.
const denyMark = `"verdict":"` + sidecars.Deny + `"`

// decisionLog reads the egress logs of bottles. Sidecars append to them; a last
// line may be half written.
type decisionLog struct {
	store *state.Store

	mu     sync.Mutex
	counts map[backend.ID]logCount
}

// logCount is how far a log has been counted.
type logCount struct {
	created int64 // of the bottle, since an id can be used again
	offset  int64
	denied  int
}

func newDecisionLog(store *state.Store) *decisionLog {
	return &decisionLog{
		store: store, counts: map[backend.ID]logCount{},
	}
}

// refusal reports whether a line is a refusal.
func refusal(line []byte) bool { return bytes.Contains(line, []byte(denyMark)) }

// open looks at a bottle's log as it is now. No log is an empty one. Close what
// it returns.
func (d *decisionLog) open(id backend.ID) (*ledger.Reader, io.Closer, error) {
	files, err := d.store.OpenLedger(id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	r, err := ledger.NewReader(files)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read the egress log of bottle %s: %w", id, err), closers(files).Close())
	}
	return r, closers(files), nil
}

// closers closes all files.
type closers []*os.File

func (c closers) Close() error {
	var errs []error
	for _, f := range c {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// size is where the log ends now; 0 when there is none.
func (d *decisionLog) size(id backend.ID) int64 {
	r, files, err := d.open(id)
	if err != nil {
		return 0
	}
	defer func() { _ = files.Close() }()
	return r.End()
}

// refusedSince returns the refusals logged from offset on, oldest first. A log
// that cannot be read has none: it must not fail the command it is about.
func (d *decisionLog) refusedSince(id backend.ID, offset int64) []sidecars.Decision {
	var out []sidecars.Decision
	err := d.window(id, func(int64) int64 { return offset }, func(line []byte) {
		if len(out) < maxRefusals && refusal(line) {
			if one, ok := decodeEntry(line, id); ok && one.Type == ledger.TypeDecision && one.Verdict == sidecars.Deny {
				out = append(out, one.Decision)
			}
		}
	})
	if err != nil {
		return nil
	}
	return out
}

// newest returns the newest decisions, oldest first. An exchange that goes on
// stands where it began.
func (d *decisionLog) newest(id backend.ID, limit int) ([]sidecars.Decision, error) {
	limit = max(1, min(limit, maxLogLines))
	var list decisionList
	err := d.window(id, func(end int64) int64 { return max(0, end-maxLogWindow) }, func(line []byte) {
		if one, ok := decodeEntry(line, id); ok {
			list.add(one)
		}
	})
	return list.last(limit), err
}

// decisionList gathers decisions and leaves out what a later line repeats.
type decisionList struct {
	all     []sidecars.Decision
	ongoing map[string]int // by exchange, where it stands in all
}

func (l *decisionList) add(e ledger.Entry) {
	at, known := l.ongoing[e.Exchange]
	switch e.Type {
	case ledger.TypeDecision:
		if known && e.Exchange != "" {
			l.all[at].Bottle = "" // told by its end
			delete(l.ongoing, e.Exchange)
		}
	case ledger.TypeBegin, ledger.TypeProgress:
		e.Message = "It goes on, or its end could not be recorded."
		if known {
			l.all[at] = e.Decision
			return
		}
		if l.ongoing == nil {
			l.ongoing = map[string]int{}
		}
		l.ongoing[e.Exchange] = len(l.all)
	default:
		return
	}
	l.all = append(l.all, e.Decision)
}

func (l *decisionList) last(limit int) []sidecars.Decision {
	out := slices.DeleteFunc(l.all, func(d sidecars.Decision) bool { return d.Bottle == "" })
	return append([]sidecars.Decision{}, out[max(0, len(out)-limit):]...)
}

// window calls each for every whole line in the part of the log that begins
// where from says, which is told where the log ends.
func (d *decisionLog) window(id backend.ID, from func(end int64) int64, each func([]byte)) error {
	r, files, err := d.open(id)
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()
	in, _ := r.From(from(r.End()), maxLogWindow)
	_, err = ledger.Lines(in, func(line []byte) error {
		each(line)
		return nil
	})
	return err
}

// decodeEntry reads one line strictly.
func decodeEntry(line []byte, id backend.ID) (ledger.Entry, bool) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	var one ledger.Entry
	if dec.Decode(&one) != nil || one.Bottle != string(id) {
		return ledger.Entry{}, false
	}
	if one.Type == ledger.TypeDecision && one.Verdict != sidecars.Allow && one.Verdict != sidecars.Deny {
		return ledger.Entry{}, false
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return ledger.Entry{}, false
	}
	return one, true
}

// life is one use of an id: since when, and where its part of the log begins.
type life struct {
	id       backend.ID
	created  int64
	logStart int64
}

// refusals counts the refusals of a bottle's whole life. It goes on where the
// last call ended.
func (d *decisionLog) refusals(of life) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := of.id
	c := d.counts[id]
	r, files, err := d.open(id)
	if err != nil {
		return c.denied
	}
	defer func() { _ = files.Close() }()
	if c.created != of.created || r.End() < c.offset {
		c = logCount{created: of.created, offset: of.logStart}
	}
	in, start := r.From(c.offset, maxLogCount)
	end, _ := ledger.Lines(in, func(line []byte) error {
		if refusal(line) {
			c.denied++
		}
		return nil
	})
	c.offset = start + end
	d.counts[id] = c
	return c.denied
}

// forget drops what is known of a bottle that is gone.
func (d *decisionLog) forget(id backend.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.counts, id)
}

// EgressLog returns the newest decisions, oldest first.
func (m *Manager) EgressLog(_ context.Context, who Principal, id backend.ID, limit int) ([]sidecars.Decision, error) {
	if _, err := m.record(who, id); err != nil {
		return nil, err
	}
	return m.decisions.newest(id, limit)
}
