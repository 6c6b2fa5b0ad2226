package ledger

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func TestDiskFull(t *testing.T) {
	for _, tt := range []struct {
		name         string
		short, stuck bool
	}{{name: "nothing"}, {name: "half", short: true}, {name: "half, and it stays", short: true, stuck: true}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShelf(t)
			f, o := s.faulty()
			l := start(t, o)
			l.AddNow(decision(0))
			f.short.Store(tt.short)
			f.stuck.Store(tt.stuck)
			f.fail.Store(true)
			begin := time.Now()
			l.AddNow(decision(1))
			if took := time.Since(begin); l.Healthy() || took > addWait/2 {
				t.Fatalf("healthy %v after %s", l.Healthy(), took)
			}
			for range 8 { // nobody waits for what is known to fail
				l.AddNow(decision(1))
			}
			if took := time.Since(begin); took > 3*addWait {
				t.Errorf("refusals on a full disk took %s", took)
			}
			for i := range 2 * queueLength { // more than may wait
				l.Add(decision(i))
			}
			if took := time.Since(begin); took > 4*addWait {
				t.Errorf("adding what cannot be written took %s", took)
			}
			f.fail.Store(false)
			f.stuck.Store(false)
			eventually(t, "healthy again", l.Healthy)
			check(t, l.Close())
			s.good()
			lost := 0
			for _, e := range s.entries() {
				if e.Reason == ReasonLost && e.Layer == LayerLedger && strings.Contains(e.Message, "could not be recorded") {
					lost++
				}
			}
			if lost != 1 {
				t.Errorf("%d lines tell of what was lost", lost)
			}
		})
	}
	t.Run("continue", func(t *testing.T) {
		s := newShelf(t)
		f, o := s.faulty()
		o.OnFull = sidecars.OnFullContinue
		l := start(t, o)
		f.fail.Store(true)
		l.AddNow(decision(0))
		if !l.Healthy() {
			t.Error("a full disk stops what may go on without record")
		}
	})
	t.Run("to the end", func(t *testing.T) {
		s := newShelf(t)
		f, o := s.faulty()
		l := start(t, o)
		f.fail.Store(true)
		l.AddNow(decision(0))
		if err := l.Close(); err == nil {
			t.Error("close reports success although a line is lost")
		}
	})
}

// blockedWriter takes nothing until it is opened.
type blockedWriter struct {
	open chan struct{}
	mu   sync.Mutex
	b    bytes.Buffer
}

func (w *blockedWriter) Write(p []byte) (int, error) {
	<-w.open
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func TestNeverBlocksForEver(t *testing.T) {
	w := &blockedWriter{open: make(chan struct{})}
	l := start(t, Options{Bottle: "otter", Out: w})
	longest := time.Duration(0)
	for added := 0; l.Healthy(); added++ {
		if added > 10*queueLength {
			t.Fatal("nothing is ever lost although nothing is read")
		}
		begin := time.Now()
		l.Add(decision(0))
		longest = max(longest, time.Since(begin))
	}
	if longest > 5*addWait || longest < addWait/2 {
		t.Errorf("add took %s", longest)
	}
	close(w.open)
	check(t, l.Close())
	if !strings.Contains(w.b.String(), "could not be recorded") || !l.Healthy() {
		t.Errorf("healthy %v, or no line tells of the lost ones", l.Healthy())
	}
}

func TestStuckReader(t *testing.T) {
	w := &blockedWriter{open: make(chan struct{})}
	defer close(w.open)
	l := start(t, Options{Bottle: "otter", Out: w})
	l.Add(decision(0))
	if err := l.Close(); err == nil {
		t.Error("close reports success although nothing was written")
	}
}
