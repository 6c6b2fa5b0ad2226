package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/tools"
)

// shared is a writer that may be read meanwhile.
type shared struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// await waits for text that matches and returns its first group.
func (s *shared) await(t *testing.T, pattern string) string {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(s.String()); m != nil {
			return m[len(m)-1]
		}
	}
	t.Fatalf("no %s in:\n%s", pattern, s.String())
	return ""
}

// A server shows what it did while it serves, and no longer.
func TestServeShowsMetrics(t *testing.T) {
	in, input := io.Pipe()
	var out, notes shared
	c := &cli{con: &console{in: in, out: &out, err: &notes, width: defaultWidth}, stateDir: t.TempDir(), logLevel: "error"}
	c.connect = func(_ context.Context, _ paths, w wiring, _ *slog.Logger) (tools.Bottles, error) {
		if w.observer == nil || w.recording.onFull != "continue" {
			t.Errorf("wired as %+v", w)
		}
		return &fakeBottles{}, nil
	}
	o := serveOptions{metrics: metricsOptions{addr: "127.0.0.1:0"}, recording: ledgerRules{onFull: "continue"}}
	served := make(chan error, 1)
	go func() { served <- c.serve(t.Context(), o) }()
	url := notes.await(t, `bottle-mcp shows metrics at (http://127\.0\.0\.1:\d+/metrics)`)
	for i, line := range []string{
		message(1, handshake[0], handshake[1]), message(2, handshake[2], handshake[3]),
		message(3, "tools/call", `{"name":"list","arguments":{}}`),
	} {
		if _, err := fmt.Fprintln(input, line); err != nil {
			t.Fatal(i, err)
		}
	}
	out.await(t, `"id":3`)
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || !regexp.MustCompile(`bottle_mcp_tool_calls_total\{tool="list",outcome="(ok|error)"\} 1`).Match(body) {
		t.Errorf("%v\n%s", err, body)
	}
	_ = input.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("metrics are shown after the end")
	}
}

func TestObserveFlags(t *testing.T) {
	for want, o := range map[string]serveOptions{
		"--metrics-remote needs":   {metrics: metricsOptions{remote: true}},
		"without --metrics-remote": {metrics: metricsOptions{addr: "0.0.0.0:1"}},
		"not an address":           {metrics: metricsOptions{addr: "1"}},
		"not \"shrug\"":            {recording: ledgerRules{onFull: "shrug"}},
		"not \"hourly\"":           {recording: ledgerRules{sync: "hourly"}},
	} {
		var usage *usageError
		if err := o.validate(); !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if err := (serveOptions{metrics: metricsOptions{addr: "0.0.0.0:1", remote: true}}).validate(); err != nil {
		t.Error(err)
	}
}
