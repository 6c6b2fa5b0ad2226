package egress

import (
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func TestClean(t *testing.T) {
	tests := map[string]string{
		"/plain/path":            "/plain/path",
		"":                       "",
		"a\x1b[31mred\r\n":       "a?[31mred??",
		"bidi \u202e end":        "bidi ? end",
		"bad \xff byte":          "bad ? byte",
		strings.Repeat("a", 512): strings.Repeat("a", 512),
		strings.Repeat("a", 513): strings.Repeat("a", 509) + "...",
		strings.Repeat("é", 300): strings.Repeat("?", 255) + "...",
	}
	for in, want := range tests {
		if got := clean(in); got != want {
			t.Errorf("clean(%.20q…) = %q, want %q", in, got, want)
		}
		if got := clean(in); len(got) > maxText {
			t.Errorf("clean gave %d bytes", len(got))
		}
	}
}

// A line per decision, in order, sanitised, and all of them at the end.
func TestJournalWritesAll(t *testing.T) {
	out := &logBuffer{}
	j := newJournal(out)
	go j.run()
	const lines = 3 * journalQueue
	for i := range lines {
		j.add(sidecars.Decision{Host: "a.test", Path: "/\n{}", Port: i + 1})
	}
	check(t, j.close())
	j.add(sidecars.Decision{}) // after the end: neither a line nor a panic
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != lines {
		t.Fatalf("%d lines, want %d", len(got), lines)
	}
	for i, line := range got {
		var d sidecars.Decision
		check(t, json.Unmarshal([]byte(line), &d))
		if d.Port != i+1 || d.Path != "/?{}" {
			t.Fatalf("line %d = %s", i, line)
		}
	}
}

// blockedWriter takes nothing until it is opened.
type blockedWriter struct {
	logBuffer
	open chan struct{}
}

func (w *blockedWriter) Write(p []byte) (int, error) {
	<-w.open
	return w.logBuffer.Write(p)
}

func TestJournalNeverBlocksForEver(t *testing.T) {
	w := &blockedWriter{open: make(chan struct{})}
	j := newJournal(w)
	go j.run()
	longest := time.Duration(0)
	for added := 0; j.healthy(); added++ {
		if added > 10*journalQueue {
			t.Fatal("nothing is ever lost although nothing is read")
		}
		start := time.Now()
		j.add(sidecars.Decision{Reason: "filler"})
		longest = max(longest, time.Since(start))
	}
	if longest > 5*journalWait {
		t.Errorf("add took %s", longest)
	}
	close(w.open)
	check(t, j.close())
	if !strings.Contains(w.String(), "could not be recorded") {
		t.Error("no line tells of the lost ones")
	}
	if !j.healthy() {
		t.Error("not healthy again after the log was read")
	}
}

func TestJournalStuckReader(t *testing.T) {
	w := &blockedWriter{open: make(chan struct{})}
	defer close(w.open)
	j := newJournal(w)
	go j.run()
	j.add(sidecars.Decision{})
	if err := j.close(); err == nil {
		t.Error("close reports success although nothing was written")
	}
}

// failingWriter can be switched to fail.
type failingWriter struct {
	logBuffer
	fail atomic.Bool
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.fail.Load() {
		return 0, errors.New("no space left")
	}
	return w.logBuffer.Write(p)
}

// What cannot be recorded does not happen.
func TestNoRequestWithoutLog(t *testing.T) {
	w := &failingWriter{}
	b := newBed(t, func(_ *bed, c *bedConfig) { c.opts.Log = w })
	c := b.client(false)
	url := b.secureURL("allowed.test", "/")
	if resp, _ := fetch(t, c, get(t, url)); resp.StatusCode != 200 {
		t.Fatalf("status %s", resp.Status)
	}
	w.fail.Store(true)
	_, _ = fetch(t, c, get(t, url)) // its line is the first that fails
	for end := time.Now().Add(testWait); b.proxy.journal.healthy(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the failure went unnoticed")
		}
	}
	resp, _ := fetch(t, c, get(t, url))
	refused(t, resp, 503, reasonAudit)
	w.fail.Store(false)
	for end := time.Now().Add(testWait); ; time.Sleep(time.Millisecond) {
		if resp, _ := fetch(t, c, get(t, url)); resp.StatusCode == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("requests stay refused after the log recovered")
		}
	}
}
