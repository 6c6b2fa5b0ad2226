package egress

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func fetch(t testing.TB, c *http.Client, req *http.Request) (*http.Response, seen) {
	t.Helper()
	resp, err := c.Do(req)
	check(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	check(t, err)
	var s seen
	if resp.StatusCode == http.StatusOK {
		check(t, json.Unmarshal(raw, &s))
	}
	resp.Body = io.NopCloser(strings.NewReader(string(raw)))
	return resp, s
}

func get(t testing.TB, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	check(t, err)
	return req
}

func TestForward(t *testing.T) {
	b := newBed(t, nil)
	tests := []struct {
		name, url string
		h2        bool
		proto     string
	}{
		{"plain", b.plainURL("allowed.test", "/a%2Fb//c?q=50%&r"), false, "HTTP/1.1"},
		{"https h1", b.secureURL("allowed.test", "/a%2Fb//c?q=50%&r"), false, "HTTP/1.1"},
		{"https h2", b.secureURL("allowed.test", "/a%2Fb//c?q=50%&r"), true, "HTTP/2.0"},
		{"wildcard", b.secureURL("x.wild.test", "/a%2Fb//c?q=50%&r"), false, "HTTP/1.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := get(t, tt.url)
			req.Header.Set("Authorization", "Bearer own")
			req.Header.Set("Proxy-Authorization", "Basic eA==")
			req.Header.Set("Cookie", "a=b")
			resp, s := fetch(t, b.client(tt.h2), req)
			if resp.StatusCode != 200 {
				t.Fatalf("status %s", resp.Status)
			}
			if s.URI != "/a%2Fb//c?q=50%&r" {
				t.Errorf("origin saw %q", s.URI)
			}
			if s.Host != req.URL.Host {
				t.Errorf("origin's Host = %q, want %q", s.Host, req.URL.Host)
			}
			if s.Proto != tt.proto {
				t.Errorf("origin's protocol = %s, want %s", s.Proto, tt.proto)
			}
			if got := s.Header.Get("Authorization"); got != "Bearer own" {
				t.Errorf("a route without auth must leave the agent's header, origin saw %q", got)
			}
			for name := range s.Header {
				if strings.HasPrefix(name, "Proxy-") || strings.HasPrefix(name, "X-Forwarded") || name == "Via" {
					t.Errorf("origin saw header %s", name)
				}
			}
			for _, name := range []string{"Alt-Svc", headerRefused} {
				if v := resp.Header.Get(name); v != "" {
					t.Errorf("response has %s: %q", name, v)
				}
			}
		})
	}
	d := b.logged("a forwarded request", func(d sidecars.Decision) bool { return d.Scheme == "https" && d.Status == 200 })
	if d.Verdict != sidecars.Allow || d.Rule == "" || d.Path != "/a%2Fb//c" || d.BytesIn == 0 || d.Service != sidecars.Egress || d.Bottle != "otter" {
		t.Errorf("decision = %+v", d)
	}
	if strings.Contains(b.log.String(), "q=50") || strings.Contains(b.log.String(), "Bearer own") {
		t.Error("the log holds a query or a header value")
	}
}

func TestInjection(t *testing.T) {
	b := newBed(t, nil)
	for _, h2 := range []bool{false, true} {
		req := get(t, b.secureURL("auth.test", "/"))
		for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "X-Auth-Token", "Private-Token", "X_api_key"} {
			req.Header[name] = []string{testPlaceholder}
		}
		req.Header.Set("Cookie", "session="+testPlaceholder)
		req.Header.Set("Connection", "Authorization")
		if h2 {
			req.Header.Del("Connection")
		}
		resp, _ := fetch(t, b.client(h2), req)
		if resp.StatusCode != 200 {
			t.Fatalf("status %s", resp.Status)
		}
		s := b.arrived()
		if got := s.Header["Authorization"]; len(got) != 1 || got[0] != "Bearer "+testToken {
			t.Errorf("origin's Authorization = %q", got)
		}
		for name, values := range s.Header {
			if strings.Contains(strings.Join(values, ""), testPlaceholder) {
				t.Errorf("origin saw the agent's %s", name)
			}
		}
	}
	t.Run("never in the clear", func(t *testing.T) {
		resp, _ := fetch(t, b.client(false), get(t, b.plainURL("auth.test", "/")))
		refused(t, resp, 403, reasonPlainHTTP)
	})
	if strings.Contains(b.log.String(), testToken) {
		t.Error("the log holds the token")
	}
}

func TestRefusals(t *testing.T) {
	b := newBed(t, nil)
	tests := []struct {
		name, method, url string
		status            int
		reason            string
	}{
		{"unlisted host", "GET", b.plainURL("evil.test", "/x?secret=1"), 403, reasonHostNotAllowed},
		{"suffix of another", "GET", b.plainURL("notallowed.test", "/"), 403, reasonHostNotAllowed},
		{"allowed as a prefix", "GET", b.plainURL("allowed.test.evil.test", "/"), 403, reasonHostNotAllowed},
		{"apex of a wildcard", "GET", b.plainURL("wild.test", "/"), 403, reasonHostNotAllowed},
		{"port", "GET", "http://allowed.test:22/", 403, reasonPortNotAllowed},
		{"default port is not implied", "GET", "http://allowed.test/", 403, reasonPortNotAllowed},
		{"address", "GET", b.plainURL("127.0.0.1", "/"), 403, reasonIPLiteral},
		{"short address", "GET", b.plainURL("127.1", "/"), 403, reasonIPLiteral},
		{"decimal address", "GET", b.plainURL("2130706433", "/"), 403, reasonIPLiteral},
		{"hex address", "GET", b.plainURL("0x7f000001", "/"), 403, reasonIPLiteral},
		{"TRACE", "TRACE", b.plainURL("allowed.test", "/"), 403, reasonMethod},
		{"git push", "POST", b.plainURL("allowed.test", "/o/r.git/git-receive-pack"), 403, reasonGitPush},
		{"git push, discovery", "GET", b.plainURL("allowed.test", "/o/r.git/info/refs?service=git-receive-pack"), 403, reasonGitPush},
		{"https unlisted path push", "POST", b.secureURL("allowed.test", "/o/r.git/git%2Dreceive-pack"), 403, reasonGitPush},
		{"unknown own page", "GET", "http://_egress.local/x", 404, reasonUnknownLocal},
		{"own page, POST", "POST", "http://_egress.local/healthz", 405, reasonMethod},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequest(tt.method, tt.url, nil)
			check(t, err)
			start := time.Now()
			resp, _ := fetch(t, b.client(false), req)
			if took := time.Since(start); took > time.Second { // 0.1 s on a quiet machine
				t.Errorf("the refusal took %s", took)
			}
			got := refused(t, resp, tt.status, tt.reason)
			if got.Method != tt.method || got.Host != req.URL.Hostname() || got.Path == "" {
				t.Errorf("refusal describes %s %s %s", got.Method, got.Host, got.Path)
			}
			d := b.logged(tt.reason, func(d sidecars.Decision) bool { return d.Reason == tt.reason && d.Host == req.URL.Hostname() })
			if d.Verdict != sidecars.Deny || d.Status != tt.status {
				t.Errorf("decision = %+v", d)
			}
		})
	}
	b.names.mu.Lock()
	defer b.names.mu.Unlock()
	for _, host := range b.names.asked {
		if host != "allowed.test" {
			t.Errorf("the name %q was resolved although it is refused", host)
		}
	}
}

func TestDeniedConnect(t *testing.T) {
	b := newBed(t, nil)
	for _, target := range []string{"evil.test:443", "allowed.test:22", "_egress.local:443"} {
		c := b.raw()
		c.send("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n")
		resp := c.response("CONNECT")
		reason := reasonHostNotAllowed
		if strings.HasPrefix(target, "allowed") {
			reason = reasonPortNotAllowed
		}
		refused(t, resp, 403, reason)
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("after a denied CONNECT: %v, want the end of the connection", err)
		}
	}
	b.logged("the denied CONNECT", func(d sidecars.Decision) bool {
		return d.Method == "CONNECT" && d.Host == "evil.test" && d.Port == 443 && d.Verdict == sidecars.Deny
	})
}

func TestLocalPages(t *testing.T) {
	b := newBed(t, nil)
	c := b.client(false)
	t.Run("healthz", func(t *testing.T) {
		resp, err := c.Get("http://_egress.local/healthz")
		check(t, err)
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || string(body) != "ok otter\n" {
			t.Errorf("%s %q", resp.Status, body)
		}
	})
	t.Run("allowlist", func(t *testing.T) {
		resp, err := c.Get("http://_egress.local/allowlist")
		check(t, err)
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		for _, want := range []string{`"otter"`, `"*.wild.test"`, `"credential_injected": true`, `"default": "deny"`} {
			if !strings.Contains(string(body), want) {
				t.Errorf("no %s in %s", want, body)
			}
		}
		for _, not := range []string{testToken, "T0", "127.0.0"} {
			if strings.Contains(string(body), not) {
				t.Errorf("allowlist shows %q", not)
			}
		}
	})
}

func TestEmptyPolicyDeniesAll(t *testing.T) {
	b := newBed(t, func(_ *bed, c *bedConfig) { c.routes = nil })
	resp, _ := fetch(t, b.client(false), get(t, b.plainURL("allowed.test", "/")))
	refused(t, resp, 403, reasonHostNotAllowed)
}

func TestServeOnce(t *testing.T) {
	b := newBed(t, nil)
	b.stop()
	if err := b.proxy.Serve(t.Context(), nil); err == nil {
		t.Error("a second Serve gave no error")
	}
}

// Stopping ends handshakes, tunnels and streams that net/http has let go of.
func TestStopLeavesNothing(t *testing.T) {
	baseline := runtime.NumGoroutine()
	b := newBed(t, func(_ *bed, c *bedConfig) {
		c.opts.Limits.Stop = 200 * time.Millisecond
		c.handler = rawSocket(func(_ net.Conn, r io.Reader) { _, _ = io.Copy(io.Discard, r) })
	})
	b.switched(t, "")
	silent := b.raw()
	silent.send("CONNECT " + b.target("allowed.test") + " HTTP/1.1\r\n\r\n")
	silent.response("CONNECT")
	start := time.Now()
	b.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
	b.quiet()
	settle(t, baseline)
}

func TestServeReportsItsListener(t *testing.T) {
	b := newBed(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	check(t, l.Close())
	b.stop()
	b.proxy.served.Store(false)
	b.proxy.journal, err = newJournal(sidecars.Config{Bottle: "otter"}, Options{Log: b.log})
	check(t, err)
	if err := b.proxy.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error = %v, want net.ErrClosed", err)
	}
}

// TestRefusalIsOnRecord shows that whoever has read a refusal finds it in the
// log: exec's result lists refusals right after a command.
func TestRefusalIsOnRecord(t *testing.T) {
	b := newBed(t, nil)
	for i := range 50 {
		resp, err := b.client(false).Get(b.plainURL("evil.test", "/"))
		check(t, err)
		got := len(b.decisions())
		_ = resp.Body.Close()
		if resp.StatusCode != 403 || got != i+1 {
			t.Fatalf("after refusal %d (status %d) the log holds %d lines", i+1, resp.StatusCode, got)
		}
	}
}
