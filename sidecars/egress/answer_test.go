package egress

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func TestAnswerRules(t *testing.T) {
	b := newBed(t, func(_ *bed, c *bedConfig) {
		c.routes[0].Response = &sidecars.ResponseRules{MaxBytes: 1000, Types: []string{"application/json", "text/*"}}
		c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			if r.Header.Get("Upgrade") != "" {
				socketEcho(w, r)
				return
			}
			if q.Has("type") {
				w.Header()["Content-Type"] = q["type"]
			} else {
				w.Header()["Content-Type"] = nil
			}
			if status := q.Get("status"); status != "" {
				code, _ := strconv.Atoi(status)
				w.WriteHeader(code)
				return
			}
			size, _ := strconv.Atoi(q.Get("size"))
			if q.Has("sized") {
				w.Header().Set("Content-Length", strconv.Itoa(size))
			}
			for range size {
				_, _ = w.Write([]byte("x"))
				if !q.Has("sized") {
					_ = http.NewResponseController(w).Flush()
				}
			}
		})
	})
	tests := []struct {
		name, method, query string
		reason              string // "" passes
	}{
		{"exact type", "GET", "type=application/json&size=10", ""},
		{"with a parameter, other case", "GET", "type=Application/JSON%3Bcharset=utf-8&size=10", ""},
		{"subtree", "GET", "type=text/event-stream&size=10", ""},
		{"another type", "GET", "type=application/octet-stream&size=10", reasonResponseType},
		{"a longer type", "GET", "type=application/jsonp&size=10", reasonResponseType},
		{"an empty subtype", "GET", "type=text/&size=10", reasonResponseType},
		{"no type", "GET", "size=10", reasonResponseType},
		{"two types", "GET", "type=text/plain&type=image/png&size=10", reasonResponseType},
		{"no type and no body", "GET", "size=0&sized", ""},
		{"no content", "GET", "status=204", ""},
		{"HEAD", "HEAD", "size=10", ""},
		{"at the bound", "GET", "type=text/plain&size=1000", ""},
		{"at the bound, known", "GET", "type=text/plain&size=1000&sized", ""},
		{"beyond, known", "GET", "type=text/plain&size=1001&sized", reasonResponseSize},
		{"beyond, known, HEAD", "HEAD", "type=text/plain&size=1001&sized", ""},
	}
	for _, tt := range tests {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s h2=%v", tt.name, h2), func(t *testing.T) {
				ask := func(host string) *http.Response {
					req := get(t, b.secureURL(host, "/?"+tt.query))
					req.Method = tt.method
					resp, err := b.client(h2).Do(req)
					check(t, err)
					t.Cleanup(func() { _ = resp.Body.Close() })
					return resp
				}
				resp := ask("allowed.test")
				if tt.reason != "" {
					if got := refused(t, resp, http.StatusForbidden, tt.reason); got.Layer != layerResponse || got.Rule != "allowed.test" {
						t.Errorf("%+v", got)
					}
				} else if resp.StatusCode >= 300 {
					t.Errorf("%s %s", resp.Status, body(t, resp))
				}
				if resp := ask("other.test"); resp.StatusCode >= 300 {
					t.Errorf("control: %s", resp.Status)
				}
			})
		}
	}
	t.Run("beyond, within a stream", func(t *testing.T) {
		for _, h2 := range []bool{false, true} {
			resp, err := b.client(h2).Get(b.secureURL("allowed.test", "/?type=text/plain&size=2000"))
			check(t, err)
			got, err := io.ReadAll(resp.Body)
			if err == nil || len(got) > 1000 {
				t.Errorf("h2=%v: %d bytes and the end %v", h2, len(got), err)
			}
			_ = resp.Body.Close()
		}
		if d := b.loggedReason(reasonResponseSize); d.Layer != layerResponse || d.Verdict != sidecars.Deny {
			t.Errorf("decision = %+v", d)
		}
	})
	t.Run("a WebSocket", func(t *testing.T) {
		c := b.tunnel("allowed.test", "allowed.test")
		c.send("GET / HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		refused(t, c.response("GET"), http.StatusForbidden, reasonResponseType)
	})
}
