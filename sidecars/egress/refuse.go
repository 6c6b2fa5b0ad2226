package egress

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// headerRefused marks an answer of the proxy itself and carries the reason
// code. An upstream's header of that name is dropped.
const headerRefused = "X-Bottle-Refused"

// refusalBody is the JSON of every refusal.
type refusalBody struct {
	Error   string `json:"error"` // always "egress_refused"
	Layer   string `json:"layer"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Rule    string `json:"rule"`
	Host    string `json:"host"`
	Port    int    `json:"port"`
	Method  string `json:"method"`
	Path    string `json:"path"`
	Ask     string `json:"how_to_ask"`
	// RetryAfter is in seconds.
	RetryAfter int `json:"retry_after,omitempty"`
	// Findings say what a scan found and where, never what it is.
	Findings []found `json:"findings,omitempty"`
}

// body renders the refusal of the request that d describes.
func (r *refusal) body(d sidecars.Decision) []byte {
	b, err := json.MarshalIndent(refusalBody{
		Error: "egress_refused", Layer: r.Layer, Reason: r.Reason, Message: r.Message, Rule: r.Rule,
		Host: clean(d.Host), Port: d.Port, Method: clean(d.Method), Path: clean(d.Path), Ask: r.Ask, RetryAfter: r.retryAfter(), Findings: r.Found,
	}, "", "  ")
	if err != nil { // strings and a number always encode
		return []byte(`{"error":"egress_refused"}` + "\n")
	}
	return append(b, '\n')
}

// retryAfter is RetryAfter in seconds, rounded up.
func (r *refusal) retryAfter() int { return int((r.RetryAfter + time.Second - 1) / time.Second) }

// verdict is Allow where policy allowed the request and the upstream failed.
func (r *refusal) verdict() string {
	if r.Layer == layerUpstream && r.Reason != reasonUpstreamCert {
		return sidecars.Allow
	}
	return sidecars.Deny
}

// note copies the refusal into the decision to be logged.
func (r *refusal) note(d *sidecars.Decision) {
	d.Verdict, d.Layer, d.Reason, d.Message, d.Status = r.verdict(), r.Layer, r.Reason, r.Message, r.Status
	if r.Rule != "" {
		d.Rule = r.Rule
	}
}

// record logs a decision that no exchange stands for.
func (p *Proxy) record(d sidecars.Decision, no *refusal) {
	no = p.hideIn(&d, no)
	no.note(&d)
	d.Bottle, d.Service = p.bottle, sidecars.Egress
	d.Duration = time.Since(d.Time)
	p.journal.ledger.Add(d)
}

// refuse answers the request with no. The answer goes out at once, whatever
// the client is still sending.
func (ex *exchange) refuse(no *refusal) {
	no = ex.p.hideIn(&ex.d, no)
	no.note(&ex.d)
	body := no.body(ex.d)
	if !ex.silent {
		ex.measure()
		ex.p.journal.ledger.AddNow(ex.d) // who learns of a refusal finds its record
		ex.recorded = true
	}
	h := ex.w.Header()
	clear(h)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set(headerRefused, no.Reason)
	if seconds := no.retryAfter(); seconds > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds))
		// Clients of models try again by themselves, unless they are told.
		h.Set("X-Should-Retry", strconv.FormatBool(no.RetryAfter < spentForGood))
	}
	// What was cut short has left deadlines on its connection.
	cut := ex.ending.reason() != nil
	if ex.s.guard != nil && (ex.r.ContentLength != 0 || ex.endsConnection() || cut) {
		_ = ex.rc.EnableFullDuplex() // or net/http reads the body before it answers
		h.Set("Connection", "close")
		ex.s.guard.seal()
	}
	ex.w.WriteHeader(no.Status)
	if ex.r.Method != http.MethodHead {
		_, _ = ex.w.Write(body)
	}
	_ = ex.rc.Flush()
}
