package provision

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Bounds of what is read of an egress log at once.
const (
	maxDecision  = 64 << 10  // one line
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

// size is where the log ends now; 0 when there is none.
func (d *decisionLog) size(id backend.ID) int64 {
	f, err := d.store.OpenEgressLog(id)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// refusedSince returns the refusals logged from offset on, oldest first. A log
// that cannot be read has none: it must not fail the command it is about.
func (d *decisionLog) refusedSince(id backend.ID, offset int64) []sidecars.Decision {
	var out []sidecars.Decision
	err := d.window(id, offset, func(line []byte) {
		if len(out) < maxRefusals && refusal(line) {
			if one, ok := decodeDecision(line, id); ok && one.Verdict == sidecars.Deny {
				out = append(out, one)
			}
		}
	})
	if err != nil {
		return nil
	}
	return out
}

// newest returns the newest decisions, oldest first.
func (d *decisionLog) newest(id backend.ID, limit int) ([]sidecars.Decision, error) {
	limit = max(1, min(limit, maxLogLines))
	out := []sidecars.Decision{}
	err := d.window(id, max(0, d.size(id)-maxLogWindow), func(line []byte) {
		if one, ok := decodeDecision(line, id); ok {
			out = append(out, one)
			if len(out) > 2*limit {
				out = slices.Delete(out, 0, len(out)-limit)
			}
		}
	})
	return out[max(0, len(out)-limit):], err
}

// window calls each for every whole line in the part of the log that begins at
// offset.
func (d *decisionLog) window(id backend.ID, offset int64, each func([]byte)) error {
	f, err := d.store.OpenEgressLog(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = wholeLines(io.NewSectionReader(f, offset, maxLogWindow), each)
	return err
}

// wholeLines calls each for every line that ends, and returns where the last of
// them did. Lines that are too long are left out.
func wholeLines(r io.Reader, each func([]byte)) (int64, error) {
	in := bufio.NewReaderSize(r, maxDecision)
	var end, pending int64
	for {
		line, err := in.ReadSlice('\n')
		pending += int64(len(line))
		switch {
		case errors.Is(err, io.EOF):
			return end, nil // what is left over is half a line
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return end, err
		}
		if pending == int64(len(line)) {
			each(line)
		}
		end, pending = end+pending, 0
	}
}

// decodeDecision reads one line strictly.
func decodeDecision(line []byte, id backend.ID) (sidecars.Decision, bool) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	var one sidecars.Decision
	if dec.Decode(&one) != nil || one.Bottle != string(id) || one.Verdict != sidecars.Allow && one.Verdict != sidecars.Deny {
		return sidecars.Decision{}, false
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return sidecars.Decision{}, false
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
	size := d.size(id)
	if c.created != of.created || size < c.offset {
		c = logCount{created: of.created, offset: of.logStart}
	}
	if size > c.offset {
		if f, err := d.store.OpenEgressLog(id); err == nil {
			end, _ := wholeLines(io.NewSectionReader(f, c.offset, maxLogCount), func(line []byte) {
				if refusal(line) {
					c.denied++
				}
			})
			c.offset += end
			_ = f.Close()
		}
	}
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
