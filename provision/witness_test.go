package provision

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// tally is an Observer that writes down.
type tally struct {
	mu       sync.Mutex
	launched []string
	paths    []string
	damaged  int
	present  map[backend.ID]string
}

func (c *tally) Launched(name string, _ time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		name += " failed"
	}
	c.launched = append(c.launched, name)
}

func (c *tally) Recorded(_ backend.ID, e *ledger.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Type == ledger.TypeDecision {
		c.paths = append(c.paths, e.Host)
	}
}

func (c *tally) Damaged(backend.ID) { c.mu.Lock(); defer c.mu.Unlock(); c.damaged++ }

func (c *tally) Present(phases map[backend.ID]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.present = phases
}

// record writes refusals to a bottle's ledger, as its sidecar does.
func (b *bed) record(id backend.ID, hosts ...string) {
	b.t.Helper()
	o := ledger.Options{Bottle: string(id)}
	for _, name := range ledger.Names() {
		f, err := os.OpenFile(filepath.Join(b.store.BottlesDir(), string(id), name), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { _ = f.Close() })
		o.Files = append(o.Files, f)
	}
	l, err := ledger.New(o)
	if err == nil {
		err = l.Start()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	for _, host := range hosts {
		l.AddNow(deny(id, host))
	}
	if err := l.Close(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) watched(c *tally) *bytes.Buffer {
	var log bytes.Buffer
	b.witness.tell, b.cfg.Observer = c, c
	b.witness.log = slog.New(slog.NewTextHandler(&log, nil))
	return &log
}

func TestWitness(t *testing.T) {
	b, id := liveBed(t)
	c := &tally{}
	log := b.watched(c)
	b.record(id, "one", "two")
	b.witness.look()
	first, err := b.store.ReadAnchor(id)
	if err != nil || first.Broken != "" || first.Seq != 3 {
		t.Fatalf("anchor %+v, %v", first, err)
	}
	b.record(id, "three")
	b.witness.look()
	b.witness.look() // nothing is told twice
	second, _ := b.store.ReadAnchor(id)
	if want := []string{"one", "two", "three"}; !slices.Equal(c.paths, want) || second.Seq != 6 || c.present[id] != "ready" || c.damaged != 0 {
		t.Errorf("seen %q up to %+v, present %v, damaged %d", c.paths, second, c.present, c.damaged)
	}
	// A server that starts anew knows what the one before has seen.
	path := filepath.Join(b.store.BottlesDir(), string(id), ledger.Names()[0])
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.Collect(bytes.Lines(whole))
	tests := []struct {
		name string
		data []byte
		bad  bool
	}{
		{"untouched", whole, false},
		{"its end cut off", slices.Concat(lines[:4]...), true},
		{"a line changed", bytes.Replace(whole, []byte(`"two"`), []byte(`"owt"`), 1), true},
		{"emptied", nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := b.store.WriteAnchor(id, second); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			clear(b.witness.seen)
			c.damaged = 0
			log.Reset()
			b.witness.look()
			a, err := b.store.ReadAnchor(id)
			if err != nil || (a.Broken != "") != tt.bad || (c.damaged > 0) != tt.bad || strings.Contains(log.String(), "tampered") != tt.bad {
				t.Errorf("anchor %+v, %v; damaged %d; log %s", a, err, c.damaged, log)
			}
		})
	}
}

// What is kept of a bottle can still be verified, up to its last line.
func TestWitnessAtRemoval(t *testing.T) {
	b, id := liveBed(t)
	c := &tally{}
	log := b.watched(c)
	b.record(id, "one")
	dir := filepath.Join(b.store.BottlesDir(), string(id))
	if err := os.WriteFile(filepath.Join(dir, ".preserve"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Cleanup(t.Context(), CleanupRequest{IDs: []backend.ID{id}, Principal: operator}, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range ledger.Names() { // as the engine does
		_ = os.Remove(filepath.Join(dir, name))
	}
	files, err := b.store.OpenLedger(id)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = closers(files).Close() }()
	r, err := ledger.NewReader(files)
	if err != nil {
		t.Fatal(err)
	}
	a, err := b.store.ReadAnchor(id)
	if report := ledger.Verify(r, &a); err != nil || report.Problem != nil || !report.Anchored || report.Last != a.Seq || report.Counts.Denied != 1 {
		t.Errorf("%+v, anchor %+v, %v", report, a, err)
	}
	if !strings.Contains(log.String(), a.Hash) {
		t.Errorf("the log does not name the head: %s", log)
	}
}

func TestObserverOfLaunches(t *testing.T) {
	b := newBed(t)
	c := &tally{}
	b.watched(c)
	b.launch(LaunchRequest{})
	b.fake.fail["StartAgent"] = errors.New("broken on purpose")
	if _, err := b.Launch(t.Context(), b.plan(LaunchRequest{}), nil); err == nil {
		t.Fatal("a launch whose agent does not start succeeds")
	}
	if want := []string{b.fake.Name(), b.fake.Name() + " failed"}; !slices.Equal(c.launched, want) {
		t.Errorf("told of %q, want %q", c.launched, want)
	}
}
