package server

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

const bottleToken = "token-of-one-bottle-0123456789"

// whoTool tells who calls.
func whoTool() tools.Tool {
	return fakeTool("who", "", func(_ context.Context, c tools.Call) *mcp.CallToolResult {
		return success(string(c.Principal.Kind) + " " + c.Principal.Bottle)
	})
}

// sidecar is a client at a bottle's socket, as the bottle's sidecar is one.
type sidecar struct {
	socket string
	client *http.Client
	stop   context.CancelFunc
	done   chan error
}

func serveBottle(t *testing.T, f *fixture, bottle string) *sidecar {
	t.Helper()
	dir, err := os.MkdirTemp("", "bm-") //nolint:usetesting // its path is too long
	if err != nil {
		t.Fatal(err)
	}
	c := &sidecar{socket: filepath.Join(dir, "mcp.sock"), done: make(chan error, 1)}
	l, err := net.Listen("unix", c.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	go func() {
		c.done <- f.ServeBottle(ctx, BottleConfig{Listener: l, Bottle: backend.ID(bottle), Token: sha256.Sum256([]byte(bottleToken))})
	}()
	c.client = &http.Client{Timeout: 2 * patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.socket)
		},
	}}
	t.Cleanup(func() {
		stop()
		_ = os.RemoveAll(dir)
	})
	return c
}

// post sends a message; headers are NAME, VALUE, …, and "" takes one away.
func (c *sidecar) post(t *testing.T, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+sidecars.BottlesHost+sidecars.BottlesPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+bottleToken)
	for i := 0; i+1 < len(headers); i += 2 {
		switch name, value := headers[i], headers[i+1]; {
		case name == "Host":
			req.Host = value
		case name == "path":
			req.URL.Path, req.URL.RawQuery, _ = strings.Cut(value, "?")
		case value == "":
			req.Header.Del(name)
		default:
			req.Header.Set(name, value)
		}
	}
	resp, err := c.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// begin opens a session.
func (c *sidecar) begin(t *testing.T) string {
	t.Helper()
	resp, body := c.post(t, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	id := resp.Header.Get(headerSession)
	if resp.StatusCode != 200 || id == "" {
		t.Fatalf("initialize: %d %s", resp.StatusCode, body)
	}
	return id
}

func (c *sidecar) callTool(t *testing.T, session, name string) string {
	t.Helper()
	resp, body := c.post(t, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"`+name+`","arguments":{}}}`, headerSession, session, "Accept", "application/json")
	var got struct {
		Result struct {
			StructuredContent struct {
				Note string `json:"note"`
			} `json:"structuredContent"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %d %s", name, resp.StatusCode, body)
	}
	return got.Result.StructuredContent.Note
}

// TestBottleIsTheCaller has who calls be the socket's bottle, and the sessions of
// the operator and of other bottles be out of its reach.
func TestBottleIsTheCaller(t *testing.T) {
	f := newFixture(t, BottleLimits(), whoTool())
	one, two := serveBottle(t, f, "one"), serveBottle(t, f, "two")
	session := one.begin(t)
	if who := one.callTool(t, session, "who"); who != string(provision.Guest)+" one" {
		t.Errorf("the call is made by %q", who)
	}
	if resp, body := two.post(t, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"who","arguments":{}}}`, headerSession, session); resp.StatusCode != 404 {
		t.Errorf("another bottle's session is used: %d %s", resp.StatusCode, body)
	}
	if who := two.callTool(t, two.begin(t), "who"); who != string(provision.Guest)+" two" {
		t.Errorf("the call is made by %q", who)
	}
}

func TestBottleGate(t *testing.T) {
	f := newFixture(t, BottleLimits(), whoTool())
	c := serveBottle(t, f, "one")
	tests := []struct {
		name    string
		headers []string
		want    int
	}{
		{"the sidecar", nil, 200},
		{"no token", []string{"Authorization", ""}, 401},
		{"another token", []string{"Authorization", "Bearer " + testToken}, 401},
		{"another scheme", []string{"Authorization", "Basic " + bottleToken}, 401},
		{"part of the token", []string{"Authorization", "Bearer " + bottleToken[:10]}, 401},
		{"loopback as host", []string{"Host", "127.0.0.1"}, 403},
		{"a name as host", []string{"Host", "evil.test"}, 403},
		{"a page of this machine", []string{"Origin", "http://localhost"}, 403},
		{"a page", []string{"Origin", "https://evil.test"}, 403},
		{"another path", []string{"path", "/"}, 404},
		{"a query", []string{"path", "/mcp?x=1"}, 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := c.post(t, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`, tt.headers...)
			if resp.StatusCode != tt.want {
				t.Errorf("%d %s, want %d", resp.StatusCode, body, tt.want)
			}
			if strings.Contains(body, bottleToken) {
				t.Error("the answer holds the token")
			}
		})
	}
}

func TestBottleBounds(t *testing.T) {
	f := newFixture(t, Limits{MaxMessage: 4 << 10, CallsPerTool: 2}, whoTool())
	c := serveBottle(t, f, "one")
	if resp, _ := c.post(t, strings.Repeat(" ", 5<<10)); resp.StatusCode != 413 {
		t.Errorf("a large message: %d", resp.StatusCode)
	}
	for range bottleSessions + 3 { // idle ones make room
		c.begin(t)
	}
	if l, d := BottleLimits(), (Limits{}).withDefaults(); l.MaxMessage >= d.MaxMessage || l.CallsPerTool >= d.CallsPerTool || l.MaxResult >= d.MaxResult {
		t.Error("a bottle may hold as much as the operator")
	}
}

func TestServeBottleEnds(t *testing.T) {
	f := newFixture(t, Limits{StopTimeout: time.Second})
	c := serveBottle(t, f, "one")
	session := c.begin(t)
	go func() {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+sidecars.BottlesHost+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"slow","arguments":{"note":"x","steps":100000}}}`))
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+bottleToken)
		req.Header.Set(headerSession, session)
		if resp, err := c.client.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	<-f.started
	c.stop()
	select {
	case err := <-c.done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it serves on")
	}
	<-f.ended
	if _, err := os.Lstat(c.socket); err == nil {
		t.Error("the socket stays")
	}
}

func TestServeBottleRefuses(t *testing.T) {
	f := newFixture(t, Limits{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	token := sha256.Sum256([]byte("x"))
	for name, cfg := range map[string]BottleConfig{
		"no listener": {Bottle: "one", Token: token}, "no bottle": {Listener: l, Token: token},
		"no token": {Listener: l, Bottle: "one"}, "a strange id": {Listener: l, Bottle: "../one", Token: token},
	} {
		if err := f.ServeBottle(t.Context(), cfg); err == nil {
			t.Errorf("%s: it serves", name)
		}
	}
}
