package metrics

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

// Metrics counts for one server. It implements provision.Observer.
type Metrics struct {
	build, bottles                              family
	launches, launchTime                        family
	calls, callTime                             family
	decisions                                   family
	bottleDecisions, bottleBytes, lines, damage family
}

var _ provision.Observer = (*Metrics)(nil)

// launchBounds and callBounds are bucket bounds in seconds: a launch takes from
// tens of milliseconds (namespaces) to minutes (an image is built), a call up
// to hours.
func launchBounds() []float64 { return []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300} }
func callBounds() []float64   { return []float64{.005, .025, .1, .5, 1, 5, 15, 60, 300, 1800} }

// New returns metrics that count from zero. version is the program's.
func New(version string) *Metrics {
	m := &Metrics{
		build:           family{name: "bottle_mcp_build_info", help: "The program that serves.", kind: gauge, labels: []string{"version"}},
		bottles:         family{name: "bottle_mcp_bottles", help: "Bottles that there are, by phase.", kind: gauge, labels: []string{"phase"}},
		launches:        family{name: "bottle_mcp_launches_total", help: "Launches that are over, by outcome.", kind: counter, labels: []string{"backend", "outcome"}},
		launchTime:      family{name: "bottle_mcp_launch_duration_seconds", help: "Time from a launch's first step to its hand-over.", kind: histogram, labels: []string{"backend"}, bounds: launchBounds()},
		calls:           family{name: "bottle_mcp_tool_calls_total", help: "Tool calls, by outcome.", kind: counter, labels: []string{"tool", "outcome"}},
		callTime:        family{name: "bottle_mcp_tool_call_duration_seconds", help: "Time of tool calls.", kind: histogram, labels: []string{"tool"}, bounds: callBounds()},
		decisions:       family{name: "bottle_mcp_decisions_total", help: "Decisions of sidecars, by verdict, layer and reason.", kind: counter, labels: []string{"verdict", "layer", "reason"}},
		bottleDecisions: family{name: "bottle_mcp_bottle_decisions_total", help: "Decisions for a bottle that there is.", kind: counter, labels: []string{"bottle", "verdict"}},
		bottleBytes:     family{name: "bottle_mcp_bottle_bytes_total", help: "Body bytes from (out) and to (in) a bottle that there is.", kind: counter, labels: []string{"bottle", "direction"}},
		lines:           family{name: "bottle_mcp_ledger_lines_total", help: "Lines of a bottle's ledger.", kind: counter, labels: []string{"bottle"}},
		damage:          family{name: "bottle_mcp_ledger_damaged", help: "1 when a bottle's ledger was tampered with.", kind: gauge, labels: []string{"bottle"}},
	}
	m.build.set(1, version)
	return m
}

func (m *Metrics) families() []*family {
	return []*family{
		&m.build, &m.bottles, &m.launches, &m.launchTime, &m.calls, &m.callTime, &m.decisions,
		&m.bottleDecisions, &m.bottleBytes, &m.lines, &m.damage,
	}
}

// Launched implements provision.Observer.
func (m *Metrics) Launched(name string, elapsed time.Duration, err error) {
	if err != nil {
		outcome := "failed"
		var isolation *provision.IsolationError
		switch {
		case errors.As(err, &isolation):
			outcome = "not_isolated"
		case errors.Is(err, context.Canceled):
			outcome = "cancelled"
		}
		m.launches.add(1, name, outcome)
		return
	}
	m.launches.add(1, name, "ready")
	m.launchTime.observe(elapsed.Seconds(), name)
}

// Recorded implements provision.Observer.
func (m *Metrics) Recorded(id backend.ID, e *ledger.Entry) {
	m.lines.add(1, string(id))
	if e.Type != ledger.TypeDecision {
		return
	}
	verdict := sidecars.Allow
	if e.Verdict == sidecars.Deny {
		verdict = sidecars.Deny
	}
	m.decisions.add(1, verdict, e.Layer, e.Reason)
	m.bottleDecisions.add(1, string(id), verdict)
	m.bottleBytes.add(float64(max(0, e.BytesOut)), string(id), "out")
	m.bottleBytes.add(float64(max(0, e.BytesIn)), string(id), "in")
}

// Damaged implements provision.Observer.
func (m *Metrics) Damaged(id backend.ID) { m.damage.set(1, string(id)) }

// Present implements provision.Observer: what was counted for a bottle goes
// with it, so that its series do not pile up.
func (m *Metrics) Present(phases map[backend.ID]string) {
	count := map[string]int{}
	for _, phase := range phases {
		count[phase]++
	}
	for _, phase := range []string{"launching", "ready", "removing"} {
		count[phase] += 0
	}
	m.bottles.keep(func(phase string) bool { _, ok := count[phase]; return ok })
	for phase, n := range count {
		m.bottles.set(float64(n), phase)
	}
	there := func(id string) bool { _, ok := phases[backend.ID(id)]; return ok || id == overflow }
	for _, f := range []*family{&m.bottleDecisions, &m.bottleBytes, &m.lines, &m.damage} {
		f.keep(there)
	}
}

// Instrument returns the tools with their calls counted.
func (m *Metrics) Instrument(list []tools.Tool) []tools.Tool {
	out := make([]tools.Tool, len(list))
	for i, t := range list {
		out[i] = t
		out[i].Handle = func(ctx context.Context, call tools.Call) *mcp.CallToolResult {
			start := time.Now()
			outcome := "panic"
			defer func() {
				m.calls.add(1, t.Name, outcome)
				m.callTime.observe(time.Since(start).Seconds(), t.Name)
			}()
			result := t.Handle(ctx, call)
			outcome = "ok"
			if result == nil || result.IsError {
				outcome = "error"
			}
			return result
		}
	}
	return out
}

// Path is where the metrics are.
const Path = "/metrics"

// ServeHTTP implements http.Handler. It answers GET of Path, and only to
// requests that name this machine: a page in a browser cannot read it by way
// of a name of its own.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !local(r.Host) {
		http.Error(w, "misdirected", http.StatusMisdirectedRequest)
		return
	}
	m.show(w, r)
}

func (m *Metrics) show(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != Path:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	var out bytes.Buffer
	for _, f := range m.families() {
		f.write(&out)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(out.Bytes()) // a scraper that hangs up misses this one
}
