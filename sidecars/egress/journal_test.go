package egress

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

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
	for end := time.Now().Add(testWait); b.proxy.journal.ledger.Healthy(); time.Sleep(time.Millisecond) {
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
