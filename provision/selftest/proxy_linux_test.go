package selftest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// fakeProxy answers every request with what answer returns for it.
func fakeProxy(t *testing.T, answer func(*http.Request) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				if text := answer(req); text != "" {
					_, _ = io.WriteString(conn, text)
					return
				}
				_, _ = io.Copy(io.Discard, conn) // silent until the client goes
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

const (
	healthy = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok otter\n"
	refusal = "HTTP/1.1 403 Forbidden\r\nX-Bottle-Refused: host_not_allowed\r\nContent-Length: 2\r\n\r\n{}"
	tunnel  = "HTTP/1.1 200 Connection established\r\n\r\n"
	noRoute = "HTTP/1.1 502 Bad Gateway\r\nX-Bottle-Refused: upstream_unreachable\r\nContent-Length: 0\r\n\r\n"
)

func TestProxyChecks(t *testing.T) {
	always := func(text string) func(*http.Request) string { return func(*http.Request) string { return text } }
	only := func(host, text string) func(*http.Request) string {
		return func(r *http.Request) string {
			if r.Method == http.MethodConnect && r.Host == host {
				return text
			}
			return "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
		}
	}
	health := func(r *http.Request) string {
		if r.Method == http.MethodGet && r.URL.String() == healthURL {
			return healthy
		}
		return refusal
	}
	tests := map[string]struct {
		check  string
		answer func(*http.Request) string
		want   string // "" = green
	}{
		"healthy":                {nameProxy, health, ""},
		"another bottle's":       {nameProxy, always("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok otters\n"), `the proxy serves "ok otters", not "otter"`},
		"sick":                   {nameProxy, always("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), "status 500"},
		"no HTTP":                {nameProxy, always("220 smtp ready\r\n"), "does not answer"},
		"silent":                 {nameProxy, always(""), "does not answer"},
		"flood":                  {nameProxy, always("HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 1<<20)), "the proxy serves"},
		"unlisted refused":       {nameUnlisted, only("unlisted.invalid:443", refusal), ""},
		"unlisted let through":   {nameUnlisted, always(tunnel), "status 200"},
		"unlisted dialled":       {nameUnlisted, always(noRoute), "upstream_unreachable"},
		"unlisted, other reason": {nameUnlisted, always(strings.Replace(refusal, "host_", "port_", 1)), "port_not_allowed"},
		"allowed":                {nameAllowed, only("allowed.test:443", tunnel), ""},
		"allowed, host is down":  {nameAllowed, always(noRoute), ""},
		"allowed, refused":       {nameAllowed, always(refusal), "although policy allows"},
		"allowed, silent":        {nameAllowed, always(""), "does not answer"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			spec := proxySpec()
			spec.ProxyURL = fakeProxy(t, tt.answer)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			detail, err := probes(spec)[tt.check](ctx)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%q, %v; want %q", detail, err, tt.want)
			}
		})
	}
}

func TestProxyGone(t *testing.T) {
	spec := proxySpec()
	for _, url := range []string{"http://127.0.0.1:1", "://", ""} {
		spec.ProxyURL = url
		for _, check := range []string{nameProxy, nameUnlisted, nameAllowed} {
			if detail, err := probes(spec)[check](t.Context()); err == nil {
				t.Errorf("%s of %q is green: %s", check, url, detail)
			}
		}
	}
}
