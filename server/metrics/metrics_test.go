package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+Path, nil))
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	return w.Body.String()
}

var (
	sampleLine = regexp.MustCompile(`^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)
)

// lint reads the text format as Prometheus does, and checks what promtool does:
// types come before samples, names fit types, buckets are cumulative, nothing
// stands twice. It returns the samples.
func lint(text string) (map[string]float64, error) {
	samples, types := map[string]float64{}, map[string]string{}
	current, last := "", map[string]float64{}
	if !strings.HasSuffix(text, "\n") {
		return nil, errors.New("the last line does not end")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			if help == "" || types[name] != "" {
				return nil, fmt.Errorf("help of %q", line)
			}
			current = name
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if name != current || types[name] != "" || strings.HasSuffix(name, "_total") != (kind == "counter") {
				return nil, fmt.Errorf("type of %q", line)
			}
			types[name] = kind
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("line %q", line)
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil || value < 0 {
			return nil, fmt.Errorf("value of %q", line)
		}
		base := m[1]
		if types[current] == "histogram" {
			base = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(base, "_bucket"), "_sum"), "_count")
		}
		if base != current || types[current] == "" {
			return nil, fmt.Errorf("sample %q is not of %s", line, current)
		}
		seen := map[string]bool{}
		for _, pair := range labelPair.FindAllStringSubmatch(m[2], -1) {
			if seen[pair[1]] || pair[1] == "le" && !strings.HasSuffix(m[1], "_bucket") {
				return nil, fmt.Errorf("labels of %q", line)
			}
			seen[pair[1]] = true
		}
		id := m[1] + "{" + m[2] + "}"
		if _, twice := samples[id]; twice {
			return nil, fmt.Errorf("%s stands twice", id)
		}
		samples[id] = value
		if strings.HasSuffix(m[1], "_bucket") {
			of := m[1] + regexp.MustCompile(`,?le="[^"]*"`).ReplaceAllString(m[2], "")
			if value < last[of] {
				return nil, fmt.Errorf("bucket %q holds less than the one before", line)
			}
			last[of] = value
		}
	}
	return samples, nil
}

// The linter itself is no yes-man.
func TestLint(t *testing.T) {
	for _, bad := range []string{
		"x 1\n", "# HELP a b\n# TYPE a counter\na 1\n", "# HELP a_total b\n# TYPE a_total counter\na_total 1\na_total 1\n",
		"# HELP a b\n# TYPE a gauge\na{l=\"x\"y\"} 1\n", "# HELP a b\n# TYPE a gauge\na one\n", "# HELP a b\n# TYPE a gauge\nb 1\n",
		"# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\n", "# HELP a b\n# TYPE a gauge\na 1",
	} {
		if _, err := lint(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func want(t *testing.T, m *Metrics, values map[string]float64) map[string]float64 {
	t.Helper()
	text := scrape(t, m)
	got, err := lint(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for id, n := range values {
		if v, ok := got[id]; !ok || v != n {
			t.Errorf("%s is %v (%v), want %v\n%s", id, v, ok, n, text)
		}
	}
	return got
}

func entry(verdict, layer, reason string) *ledger.Entry {
	return &ledger.Entry{Decision: sidecars.Decision{Verdict: verdict, Layer: layer, Reason: reason, BytesOut: 10, BytesIn: 30}}
}

func TestCounts(t *testing.T) {
	m := New("v1.2.3")
	m.Launched("linux", 70*time.Millisecond, nil)
	m.Launched("linux", 20*time.Second, nil)
	m.Launched("linux", time.Second, errors.New("broken"))
	m.Launched("linux", time.Second, &provision.StepError{Step: "self-test", Err: &provision.IsolationError{}})
	m.Launched("linux", time.Second, fmt.Errorf("x: %w", context.Canceled))
	m.Recorded("otter", entry("allow", "", ""))
	m.Recorded("otter", entry("deny", "host", "host_not_allowed"))
	m.Recorded("stoat", entry("deny", "host", "host_not_allowed"))
	m.Recorded("otter", &ledger.Entry{Type: ledger.TypeBegin, Decision: sidecars.Decision{Verdict: "allow"}})
	m.Damaged("otter")
	m.Present(map[backend.ID]string{"otter": "ready", "stoat": "launching"})
	want(t, m, map[string]float64{
		`bottle_mcp_build_info{version="v1.2.3"}`:                                           1,
		`bottle_mcp_bottles{phase="ready"}`:                                                 1,
		`bottle_mcp_bottles{phase="removing"}`:                                              0,
		`bottle_mcp_launches_total{backend="linux",outcome="ready"}`:                        2,
		`bottle_mcp_launches_total{backend="linux",outcome="failed"}`:                       1,
		`bottle_mcp_launches_total{backend="linux",outcome="not_isolated"}`:                 1,
		`bottle_mcp_launches_total{backend="linux",outcome="cancelled"}`:                    1,
		`bottle_mcp_launch_duration_seconds_bucket{backend="linux",le="0.1"}`:               1,
		`bottle_mcp_launch_duration_seconds_bucket{backend="linux",le="+Inf"}`:              2,
		`bottle_mcp_launch_duration_seconds_count{backend="linux"}`:                         2,
		`bottle_mcp_decisions_total{verdict="deny",layer="host",reason="host_not_allowed"}`: 2,
		`bottle_mcp_bottle_decisions_total{bottle="otter",verdict="allow"}`:                 1,
		`bottle_mcp_bottle_bytes_total{bottle="otter",direction="out"}`:                     20,
		`bottle_mcp_bottle_bytes_total{bottle="otter",direction="in"}`:                      60,
		`bottle_mcp_ledger_lines_total{bottle="otter"}`:                                     3,
		`bottle_mcp_ledger_damaged{bottle="otter"}`:                                         1,
	})
	// A bottle that is gone takes its series with it; what is counted over all
	// stays.
	m.Present(map[backend.ID]string{"stoat": "ready"})
	for id := range want(t, m, map[string]float64{`bottle_mcp_decisions_total{verdict="deny",layer="host",reason="host_not_allowed"}`: 2}) {
		if strings.Contains(id, "otter") {
			t.Errorf("%s is still there", id)
		}
	}
}

// A sidecar that was taken over can write any reason into its ledger.
func TestSeriesAreBounded(t *testing.T) {
	m := New("v1")
	for i := range 5 * maxSeries {
		m.Recorded(backend.ID(fmt.Sprintf("b%d", i)), entry("deny", "la\"y\\er\n\x1b", fmt.Sprintf("%d%s", i, strings.Repeat("é", 500))))
	}
	got := want(t, m, nil)
	if n := len(got); n > 5*(maxSeries+2) {
		t.Errorf("%d samples", n)
	}
	if n := got[`bottle_mcp_decisions_total{verdict="other",layer="other",reason="other"}`]; n != 4*maxSeries {
		t.Errorf("%v are counted beyond the bound", n)
	}
	if text := scrape(t, m); len(text) > 1<<20 || strings.ContainsRune(text, 0x1b) {
		t.Errorf("%d bytes", len(text))
	}
}

func TestInstrument(t *testing.T) {
	m := New("v1")
	list := m.Instrument([]tools.Tool{
		{Name: "good", Handle: func(context.Context, tools.Call) *mcp.CallToolResult { return &mcp.CallToolResult{} }},
		{Name: "bad", Handle: func(context.Context, tools.Call) *mcp.CallToolResult { return &mcp.CallToolResult{IsError: true} }},
		{Name: "worse", Handle: func(context.Context, tools.Call) *mcp.CallToolResult { panic("x") }},
	})
	for _, tool := range list {
		func() {
			defer func() { _ = recover() }()
			tool.Handle(t.Context(), tools.Call{})
		}()
	}
	want(t, m, map[string]float64{
		`bottle_mcp_tool_calls_total{tool="good",outcome="ok"}`:            1,
		`bottle_mcp_tool_calls_total{tool="bad",outcome="error"}`:          1,
		`bottle_mcp_tool_calls_total{tool="worse",outcome="panic"}`:        1,
		`bottle_mcp_tool_call_duration_seconds_count{tool="worse"}`:        1,
		`bottle_mcp_tool_call_duration_seconds_bucket{tool="good",le="1"}`: 1,
	})
}

func TestHandlerRefuses(t *testing.T) {
	for _, tt := range []struct {
		method, url string
		status      int
	}{
		{"GET", "http://localhost:9464/metrics", 200},
		{"HEAD", "http://[::1]:9464/metrics", 200},
		{"GET", "http://evil.example/metrics", 421},
		{"GET", "http://localhost.evil.example/metrics", 421},
		{"GET", "http://127.0.0.1/", 404},
		{"POST", "http://127.0.0.1/metrics", 405},
	} {
		w := httptest.NewRecorder()
		New("v").ServeHTTP(w, httptest.NewRequest(tt.method, tt.url, nil))
		if w.Code != tt.status || tt.status != 200 && strings.Contains(w.Body.String(), "bottle_mcp") {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.url, w.Code, tt.status)
		}
	}
}

func TestCheckBind(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:9464": true, "[::1]:9464": true, "localhost:0": true,
		":9464": false, "0.0.0.0:9464": false, "192.0.2.1:9464": false, "example.com:1": false, "[::ffff:127.0.0.1]:1": true,
	} {
		if err := CheckBind(addr, false); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
		if err := CheckBind(addr, true); err != nil {
			t.Errorf("%s, told to: %v", addr, err)
		}
	}
	if CheckBind("9464", true) == nil {
		t.Error("no address is accepted")
	}
}

func TestServe(t *testing.T) {
	for _, remote := range []bool{false, true} {
		serveOnce(t, remote)
	}
}

func serveOnce(t *testing.T, remote bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- New("v7").Serve(ctx, l, remote) }()
	for host, status := range map[string]int{"": 200, "metrics.example": map[bool]int{false: 421, true: 200}[remote]} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+Path, nil)
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != status || strings.Contains(string(body), `{version="v7"} 1`) != (status == 200) {
			t.Errorf("host %q, remote %v: %d %s", host, remote, resp.StatusCode, body)
		}
	}
	cancel()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it does not stop")
	}
	if err := New("v").Serve(t.Context(), l, remote); err == nil {
		t.Error("a closed listener is served")
	}
}
