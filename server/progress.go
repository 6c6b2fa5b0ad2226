package server

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bottle-mcp/bottle-mcp/tools"
)

// tick is what progress rises by when a handler reports the same value again:
// the protocol wants it to rise with every notification.
const tick = 0.001

// answerGap is kept between a call's last progress and its answer. The
// TypeScript SDK handles a notification one turn after it is read but an answer
// at once: of two messages in one read, the progress would come too late and be
// reported as an error.
const answerGap = 4 * time.Millisecond

// reporter sends a call's progress. It writes into the same outbox as the
// answer, and is closed before the answer is put: progress is never late. The
// nil reporter, of a call without a token, does nothing.
type reporter struct {
	out   *outbox
	token json.RawMessage

	mu     sync.Mutex
	newest tools.Progress
	sent   time.Time
	closed bool
}

func newReporter(out *outbox, token json.RawMessage) *reporter {
	if !(requestID{token}).valid() {
		return nil
	}
	return &reporter{out: out, token: token, sent: time.Now()}
}

func (r *reporter) report(p tools.Progress) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send(p)
}

// send is called under the lock.
func (r *reporter) send(p tools.Progress) {
	if r.closed {
		return
	}
	if p.Current <= r.newest.Current && !(r.newest == tools.Progress{}) {
		p.Current = r.newest.Current + tick
	}
	data, err := encodeProgress(r.token, p)
	if err != nil {
		return // NaN or infinite: nothing a client could show
	}
	r.newest = p
	r.sent = time.Now()
	r.out.offer(data)
}

func encodeProgress(token json.RawMessage, p tools.Progress) ([]byte, error) {
	type params struct {
		Token    json.RawMessage `json:"progressToken"`
		Progress float64         `json:"progress"`
		Total    float64         `json:"total,omitempty"`
		Message  string          `json:"message,omitempty"`
	}
	return json.Marshal(struct {
		JSONRPC string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  params `json:"params"`
	}{mcp.JSONRPC_VERSION, "notifications/progress", params{token, p.Current, p.Total, cleanText(p.Message)}})
}

// keepAlive repeats the newest progress whenever a call has been silent for
// long, until ctx ends.
func (r *reporter) keepAlive(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.repeat(every)
		}
	}
}

func (r *reporter) repeat(every time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// Half a period of slack: else a report just before a tick doubles the silence.
	if time.Since(r.sent) < every/2 {
		return
	}
	p := r.newest
	p.Current += tick
	if p.Message == "" {
		p.Message = "still running"
	}
	r.send(p)
}

// close silences the reporter for good, so that what a handler's forgotten
// goroutine reports after the answer goes nowhere, and returns when the answer
// may follow.
func (r *reporter) close() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.closed = true
	gap := answerGap - time.Since(r.sent)
	reported := r.newest != tools.Progress{}
	r.mu.Unlock()
	if reported && gap > 0 {
		time.Sleep(gap)
	}
}
