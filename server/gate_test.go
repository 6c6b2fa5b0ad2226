package server

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

func TestGate(t *testing.T) {
	f := newFixture(t, Limits{MaxMessage: 1 << 20})
	w := serveHTTP(t, f, HTTPConfig{
		AllowedOrigins: []string{"https://Agents.example/"}, AllowedHosts: []string{"bottles.example", "other.example:8443"},
	})
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	host := func(value string) func(*http.Request) { return func(r *http.Request) { r.Host = value } }
	method := func(value string) func(*http.Request) { return func(r *http.Request) { r.Method = value } }
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"as it should be":               {nil, 200},
		"host localhost":                {host("localhost:" + port(w.addr)), 200},
		"host LOCALHOST without port":   {host("LOCALHOST"), 200},
		"host ipv6 loopback":            {host("[::1]:80"), 200},
		"host allowed":                  {host("bottles.example:1"), 200},
		"host allowed with port":        {host("other.example:8443"), 200},
		"host allowed, other port":      {host("other.example:1"), 403},
		"host rebound":                  {host("evil.example"), 403},
		"host rebound, our port":        {host("evil.example:" + port(w.addr)), 403},
		"host looks local":              {host("localhost.evil.example"), 403},
		"host of another address":       {host("10.0.0.1"), 403},
		"origin local":                  {set("Origin", "http://localhost:6274"), 200},
		"origin loopback":               {set("Origin", "https://127.0.0.1"), 200},
		"origin allowed":                {set("Origin", "https://agents.example"), 200},
		"origin evil":                   {set("Origin", "http://evil.example"), 403},
		"origin null":                   {set("Origin", "null"), 403},
		"origin empty":                  {set("Origin", ""), 403},
		"origin looks local":            {set("Origin", "http://localhost.evil.example"), 403},
		"origin of an extension":        {set("Origin", "chrome-extension://127.0.0.1"), 403},
		"two origins":                   {func(r *http.Request) { r.Header["Origin"] = []string{"http://localhost", "http://evil.example"} }, 403},
		"other path":                    {func(r *http.Request) { r.URL.Path = "/" }, 404},
		"metadata path":                 {func(r *http.Request) { r.URL.Path = "/.well-known/oauth-protected-resource" }, 404},
		"no token":                      {func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"wrong token":                   {set("Authorization", "Bearer "+testToken+"x"), 401},
		"prefix of the token":           {set("Authorization", "Bearer "+testToken[:10]), 401},
		"empty token":                   {set("Authorization", "Bearer "), 401},
		"basic":                         {set("Authorization", "Basic "+testToken), 401},
		"scheme in lower case":          {set("Authorization", "bearer "+testToken), 200},
		"evil origin is told no more":   {func(r *http.Request) { r.Header.Set("Origin", "http://evil.example"); r.Header.Del("Authorization") }, 403},
		"get":                           {method(http.MethodGet), 405},
		"put":                           {method(http.MethodPut), 405},
		"options":                       {method(http.MethodOptions), 405},
		"delete without session":        {method(http.MethodDelete), 404},
		"form":                          {set("Content-Type", "application/x-www-form-urlencoded"), 415},
		"no content type":               {func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		"content type with charset":     {set("Content-Type", "application/json; charset=utf-8"), 200},
		"accept html":                   {set("Accept", "text/html"), 406},
		"accept json":                   {set("Accept", "application/json;q=0.9"), 200},
		"accept anything":               {set("Accept", "*/*"), 200},
		"no accept":                     {func(r *http.Request) { r.Header.Del("Accept") }, 200},
		"unknown version on initialize": {set(headerVersion, "1999-01-01"), 200},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.request(t, initializeText, c.change)
			if r.StatusCode != c.want {
				t.Fatalf("status %s, want %d: %s", r.Status, c.want, bodyOf(t, r))
			}
			if challenge := r.Header.Get("WWW-Authenticate"); strings.HasPrefix(challenge, "Bearer ") != (c.want == 401) {
				t.Errorf("WWW-Authenticate: %q", challenge)
			}
			if allow := r.Header.Get("Allow"); (allow != "") != (c.want == 405) {
				t.Errorf("Allow: %q", allow)
			}
		})
	}
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

func TestHTTPMessages(t *testing.T) {
	f := newFixture(t, Limits{MaxMessage: 1 << 20})
	w := serveHTTP(t, f, HTTPConfig{})
	c := w.connect(t)
	for name, m := range map[string]struct {
		body   string
		change func(*http.Request)
		status int
		text   string
	}{
		"request":         {pingText("1"), nil, 200, `"result":{}`},
		"notification":    {`{"jsonrpc":"2.0","method":"notifications/initialized"}`, nil, 202, ""},
		"answer":          {`{"jsonrpc":"2.0","id":1,"result":{}}`, nil, 202, ""},
		"not JSON":        {`{`, nil, 400, `"code":-32700`},
		"batch":           {"[" + pingText("1") + "]", nil, 400, `"code":-32600`},
		"unknown version": {pingText("1"), func(r *http.Request) { r.Header.Set(headerVersion, "1999-01-01") }, 400, `"code":-32022`},
		"no version":      {pingText("1"), func(r *http.Request) { r.Header.Del(headerVersion) }, 200, `"result":{}`},
		"old version":     {pingText("1"), func(r *http.Request) { r.Header.Set(headerVersion, "2025-03-26") }, 200, `"result":{}`},
		"too large":       {`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"` + strings.Repeat("x", 1<<20) + `"}}`, nil, 413, ""},
		"JSON only":       {callText("1", "stepper", `{"steps":3}`, `"p"`), func(r *http.Request) { r.Header.Set("Accept", "application/json") }, 200, `{"jsonrpc":"2.0","id":1,"result"`},
		"stream":          {callText("1", "stepper", `{"steps":3}`, `"p"`), nil, 200, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\""},
		"plain":           {callText("1", "quick", `{"note":"n"}`, ""), nil, 200, `{"jsonrpc":"2.0","id":1,"result"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.request(t, m.body, func(r *http.Request) {
				c.inSession(r)
				if m.change != nil {
					m.change(r)
				}
			})
			if body := bodyOf(t, r); r.StatusCode != m.status || !strings.HasPrefix(body, m.text) && !strings.Contains(body, m.text) {
				t.Errorf("%s, want %d: %.300s", r.Status, m.status, body)
			}
		})
	}
}

func TestHTTPConcurrencyIsLimited(t *testing.T) {
	f := newFixture(t, Limits{})
	w := serveHTTP(t, f, HTTPConfig{MaxConcurrent: 2})
	c := w.connect(t)
	for i := range 2 {
		c.send(callText(fmt.Sprint(i), "slow", `{}`, ""))
		receive(t, f.started, "start")
	}
	r := w.request(t, pingText("9"), c.inSession)
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("the third request: %s, Retry-After %q", r.Status, r.Header.Get("Retry-After"))
	}
}

func TestHTTPSessionsAreBounded(t *testing.T) {
	f := newFixture(t, Limits{})
	w := serveHTTP(t, f, HTTPConfig{MaxSessions: 1})
	first := w.connect(t)
	second := w.connect(t) // takes the place of the idle one
	if r := w.request(t, pingText("1"), first.inSession); r.StatusCode != http.StatusNotFound {
		t.Errorf("the replaced session: %s", r.Status)
	}
	second.send(callText("1", "slow", `{}`, ""))
	receive(t, f.started, "start")
	r := w.request(t, initializeText, nil)
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("with every session in use: %s", r.Status)
	}
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for ReadHeaderTimeout")
	}
	t.Parallel()
	w := serveHTTP(t, newFixture(t, Limits{}), HTTPConfig{})
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\n", Endpoint)
	_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	if _, err := bufio.NewReader(conn).ReadByte(); err == nil {
		return // an error response
	} else if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
		t.Error("the connection is still open")
	}
}

func TestDrain(t *testing.T) {
	t.Run("running calls finish", func(t *testing.T) {
		f := newFixture(t, Limits{})
		w := serveHTTP(t, f, HTTPConfig{DrainTimeout: patience})
		c := w.connect(t)
		c.send(callText("1", "slow", `{"note":"n"}`, ""))
		receive(t, f.started, "start")
		w.stop()
		refused := time.Now().Add(patience)
		for {
			conn, err := net.Dial("tcp", w.addr)
			if err != nil {
				break
			}
			conn.Close()
			if time.Now().After(refused) {
				t.Fatal("new connections are still taken")
			}
		}
		f.release <- struct{}{}
		if got := c.box().answer(t, "1"); got.text() != "released" {
			t.Errorf("answer: %s", got.raw)
		}
		if err := w.wait(t); err != nil {
			t.Error(err)
		}
	})
	t.Run("and are cancelled at the end", func(t *testing.T) {
		f := newFixture(t, Limits{})
		w := serveHTTP(t, f, HTTPConfig{DrainTimeout: 20 * time.Millisecond})
		c := w.connect(t)
		c.send(callText("1", "slow", `{"note":"n"}`, ""))
		receive(t, f.started, "start")
		w.stop()
		if got := receive(t, f.ended, "end"); got != "n: "+errStopping.Error() {
			t.Errorf("ended: %q", got)
		}
		if got := c.box().answer(t, "1"); got.text() != "cancelled" {
			t.Errorf("answer: %s", got.raw)
		}
		if err := w.wait(t); err != nil {
			t.Error(err)
		}
	})
}

func TestServeHTTPRefusesToOpen(t *testing.T) {
	f := newFixture(t, Limits{})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for want, cfg := range map[string]HTTPConfig{
		"without a bearer token":        {Addr: "127.0.0.1:0"},
		"refusing to listen on 0.0.0.0": {Addr: "0.0.0.0:0", Token: secret.New(testToken)},
		"cannot listen on":              {Addr: taken.Addr().String(), Token: secret.New(testToken)},
		"is not an address":             {Addr: "nonsense", Token: secret.New(testToken)},
	} {
		if err := f.ServeHTTP(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = f.ServeHTTP(ctx, HTTPConfig{Addr: "127.0.0.1:0", Token: secret.New(testToken), Ready: func(a net.Addr) {
		if !strings.HasPrefix(a.String(), "127.0.0.1:") {
			t.Errorf("listening on %s", a)
		}
		cancel()
	}})
	if err != nil {
		t.Error(err)
	}
}

func TestCheckBind(t *testing.T) {
	for addr, loopback := range map[string]bool{
		"127.0.0.1:8080": true, "localhost:0": true, "[::1]:80": true, "127.9.9.9:1": true, "[::ffff:127.0.0.1]:1": true,
		":8080": false, "0.0.0.0:8080": false, "[::]:80": false, "192.0.2.1:80": false, "example.com:80": false, "localhost.example.com:80": false,
	} {
		if err := CheckBind(addr, false); (err == nil) != loopback {
			t.Errorf("%s without a token file: %v", addr, err)
		} else if err != nil && !strings.Contains(err.Error(), "--token-file") {
			t.Errorf("%s: the error does not say what to do: %v", addr, err)
		}
		if err := CheckBind(addr, true); err != nil {
			t.Errorf("%s with a token file: %v", addr, err)
		}
	}
	for _, addr := range []string{"", "8080", "127.0.0.1", "::1:80"} {
		if CheckBind(addr, true) == nil {
			t.Errorf("%q is taken for an address", addr)
		}
	}
}
