package egress

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// lines are those of the log of one path, of any type.
func (b *bed) lines(path string) []ledger.Entry {
	b.t.Helper()
	var out []ledger.Entry
	for line := range strings.Lines(b.log.String()) {
		e, err := ledger.Decode([]byte(line))
		check(b.t, err)
		if e.Path == path {
			out = append(out, e)
		}
	}
	return out
}

func (b *bed) awaitLines(path string, n int) []ledger.Entry {
	b.t.Helper()
	for end := time.Now().Add(testWait); ; time.Sleep(5 * time.Millisecond) {
		if got := b.lines(path); len(got) >= n {
			return got
		}
		if time.Now().After(end) {
			b.t.Fatalf("not %d lines of %s in:\n%s", n, path, b.log)
		}
	}
}

// What may take long, or carries something out, is on record before its end: a
// proxy that dies has let nothing out unseen.
func TestBeginsAreRecorded(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	b := newBed(t, func(_ *bed, c *bedConfig) {
		c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/quick" {
				return
			}
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})
	})
	client := b.client(false)
	t.Run("a body", func(t *testing.T) {
		body, more := io.Pipe()
		defer more.Close()
		resp, err := client.Post(b.secureURL("allowed.test", "/upload"), "text/plain", body)
		check(t, err)
		defer resp.Body.Close()
		begin := b.awaitLines("/upload", 1)[0]
		if begin.Type != ledger.TypeBegin || begin.Verdict != sidecars.Allow || begin.Exchange == "" || begin.Rule == "" || begin.Host != "allowed.test" {
			t.Errorf("%+v", begin)
		}
	})
	t.Run("a quiet stream", func(t *testing.T) {
		start := time.Now()
		resp, err := client.Get(b.secureURL("allowed.test", "/stream"))
		check(t, err)
		if n := len(b.lines("/stream")); n != 0 {
			t.Errorf("%d lines of an exchange that has just begun", n)
		}
		begin := b.awaitLines("/stream", 1)[0]
		if begin.Type != ledger.TypeBegin || time.Since(start) < beginAfter {
			t.Errorf("after %s: %+v", time.Since(start), begin)
		}
		check(t, resp.Body.Close())
		end := b.awaitLines("/stream", 2)[1]
		if end.Type != ledger.TypeDecision || end.Exchange != begin.Exchange {
			t.Errorf("end %+v of %q", end, begin.Exchange)
		}
	})
	t.Run("a quick one", func(t *testing.T) {
		resp, err := client.Get(b.secureURL("allowed.test", "/quick"))
		check(t, err)
		check(t, resp.Body.Close())
		if got := b.awaitLines("/quick", 1); got[0].Type != ledger.TypeDecision || got[0].Exchange != "" {
			t.Errorf("%+v", got)
		}
	})
}

// tick is what the timer does, without the minutes.
func TestProgress(t *testing.T) {
	b := newBed(t, nil)
	ex := &exchange{p: b.proxy, d: sidecars.Decision{Time: time.Now(), Verdict: sidecars.Allow, Path: "/long"}}
	ex.track()
	ex.tracked.tick()
	ex.sent.Add(10)
	ex.tracked.tick()
	ex.tracked.tick() // nothing moved
	ex.got.Add(5)
	ex.tracked.tick()
	name := ex.tracked.end()
	ex.tracked.tick() // too late
	b.awaitLines("/long", 3)
	time.Sleep(10 * time.Millisecond)
	if got := b.lines("/long"); len(got) != 3 || got[0].Type != ledger.TypeBegin || got[1].BytesOut != 10 || got[2].BytesIn != 5 ||
		got[2].Type != ledger.TypeProgress || got[2].Exchange != name {
		t.Errorf("%+v", got)
	}
}

// Which policy a decision was made under can be told.
func TestPolicyIsRecorded(t *testing.T) {
	b := newBed(t, nil)
	resp, err := b.client(false).Get(b.plainURL("allowed.test", "/before"))
	check(t, err)
	check(t, resp.Body.Close())
	b.awaitLines("/before", 1)
	check(t, b.proxy.Reload(sidecars.Config{Bottle: "otter"}, sidecars.Secrets{}))
	resp, err = b.client(false).Get(b.plainURL("allowed.test", "/after"))
	check(t, err)
	check(t, resp.Body.Close())
	b.awaitLines("/after", 1)
	var kinds []string
	policies := map[string]bool{}
	for line := range strings.Lines(b.log.String()) {
		e, err := ledger.Decode([]byte(line))
		check(t, err)
		if e.Policy != "" {
			policies[e.Policy] = true
		}
		kinds = append(kinds, string(e.Type)+e.Path)
	}
	if got := strings.Join(kinds, " "); got != "genesis /before policy /after" || len(policies) != 2 {
		t.Errorf("lines %q, policies %v", got, policies)
	}
}
