package egress

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// reload puts the bed's routes in force after change has had them.
func (b *bed) reload(change func(routes []sidecars.Route) []sidecars.Route) {
	b.t.Helper()
	next := b.cfg
	next.Routes = change(slices.Clone(b.cfg.Routes))
	check(b.t, b.proxy.Reload(next, sidecars.Secrets{}))
	b.cfg = next
}

// without takes a host's route away.
func without(host string) func([]sidecars.Route) []sidecars.Route {
	return func(routes []sidecars.Route) []sidecars.Route {
		return slices.DeleteFunc(routes, func(r sidecars.Route) bool { return r.Host == host })
	}
}

// altered changes a host's route.
func altered(host string, change func(*sidecars.Route)) func([]sidecars.Route) []sidecars.Route {
	return func(routes []sidecars.Route) []sidecars.Route {
		for i := range routes {
			if routes[i].Host == host {
				change(&routes[i])
			}
		}
		return routes
	}
}

// ticker is an origin whose answers never end: a line a few milliseconds apart,
// after as many bytes as /head says nothing at all.
func ticker(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		socketEcho(w, r)
		return
	}
	if r.URL.Path == "/silent" {
		<-r.Context().Done()
		return
	}
	for r.Context().Err() == nil && r.URL.Path == "/endless" {
		_, _ = io.WriteString(w, "tick\n")
		_ = http.NewResponseController(w).Flush()
		time.Sleep(2 * time.Millisecond)
	}
	if r.URL.Path != "/endless" {
		echo(w, r)
	}
}

func TestReloadRefusesBadPolicies(t *testing.T) {
	b := newBed(t, nil)
	good := b.cfg
	with := func(change func(*sidecars.Config)) sidecars.Config {
		c := good
		c.Routes = slices.Clone(good.Routes)
		change(&c)
		return c
	}
	for _, tt := range []struct {
		name   string
		config sidecars.Config
		want   string
	}{
		{"another bottle", with(func(c *sidecars.Config) { c.Bottle = "weasel" }), "same bottle"},
		{"another authority", with(func(c *sidecars.Config) { c.CACert = "x" }), "cannot change"},
		{"a bad host", with(func(c *sidecars.Config) { c.Routes[0].Host = "*" }), "routes[0]"},
		{"a slot without a token", with(func(c *sidecars.Config) { c.Routes[3].Auth = &sidecars.Auth{Scheme: "Bearer", Slot: "T9"} }), "holds no token"},
		{"one good and one bad", with(func(c *sidecars.Config) {
			c.Routes = []sidecars.Route{{Host: "fresh.test"}, {Host: "fresh.test"}}
		}), "already"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := b.proxy.current.Load()
			err := b.proxy.Reload(tt.config, sidecars.Secrets{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if b.proxy.current.Load() != before {
				t.Error("another policy is in force")
			}
			for _, host := range []string{"allowed.test", "auth.test"} {
				if resp, _ := fetch(t, b.client(false), get(t, b.secureURL(host, "/"))); resp.StatusCode != http.StatusOK {
					t.Errorf("%s: %s", host, resp.Status)
				}
			}
		})
	}
}

func TestReloadAllows(t *testing.T) {
	b := withHandler(t, ticker)
	b.names.set("fresh.test", "127.0.0.1")
	open := b.tunnel("allowed.test", "allowed.test")
	request := "GET / HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\n\r\n"
	open.send(request)
	if resp := open.response("GET"); resp.StatusCode != http.StatusOK {
		t.Fatalf("before: %s", resp.Status)
	}
	stream, err := b.client(false).Get(b.secureURL("allowed.test", "/endless"))
	check(t, err)
	defer stream.Body.Close()
	socket := b.dialSocket(t, b.secureURL("allowed.test", "/"))
	defer socket.CloseNow()
	resp, err := b.client(false).Get(b.plainURL("fresh.test", "/"))
	check(t, err)
	refused(t, resp, 403, reasonHostNotAllowed)

	b.reload(func(routes []sidecars.Route) []sidecars.Route {
		fresh := routes[0]
		fresh.Host = "fresh.test"
		// A match that takes the running requests in keeps them too.
		routes[0].Matches = []sidecars.Match{{Paths: []sidecars.PathMatch{{Type: sidecars.MatchPrefix, Value: "/"}}}}
		return append(routes, fresh)
	})

	if resp, _ := fetch(t, b.client(false), get(t, b.secureURL("fresh.test", "/"))); resp.StatusCode != http.StatusOK {
		t.Errorf("the new route: %s", resp.Status)
	}
	open.send(request)
	if resp := open.response("GET"); resp.StatusCode != http.StatusOK {
		t.Errorf("in the open tunnel: %s", resp.Status)
	}
	lines := bufio.NewReader(stream.Body)
	for range 50 {
		if line, err := lines.ReadString('\n'); err != nil || line != "tick\n" {
			t.Fatalf("the stream gives %q, %v", line, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	check(t, socket.Write(ctx, websocket.MessageText, []byte("still here")))
	if _, got, err := socket.Read(ctx); err != nil || string(got) != "still here" {
		t.Errorf("the WebSocket gives %q, %v", got, err)
	}
}

// What a policy allowed ends with it: in open tunnels, in streams, in
// WebSockets, and where no answer has come yet.
func TestReloadRevokes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func([]sidecars.Route) []sidecars.Route
		reason string // of the next request
	}{
		{"the route", without("allowed.test"), reasonHostNotAllowed},
		{"the path", altered("allowed.test", func(r *sidecars.Route) {
			r.Matches = []sidecars.Match{{Paths: []sidecars.PathMatch{{Type: sidecars.MatchPrefix, Value: "/other"}}}}
		}), "path_not_allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := withHandler(t, ticker)
			open := b.tunnel("allowed.test", "allowed.test")
			request := "GET / HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\n\r\n"
			open.send(request)
			if resp := open.response("GET"); resp.StatusCode != http.StatusOK {
				t.Fatalf("before: %s", resp.Status)
			}
			socket := b.dialSocket(t, b.secureURL("allowed.test", "/"))
			defer socket.CloseNow()
			stream, err := b.client(false).Get(b.secureURL("allowed.test", "/endless"))
			check(t, err)
			defer stream.Body.Close()
			h2stream, err := b.client(true).Get(b.secureURL("allowed.test", "/endless"))
			check(t, err)
			defer h2stream.Body.Close()
			bystander, err := b.client(false).Get(b.secureURL("other.test", "/endless"))
			check(t, err)
			defer bystander.Body.Close()
			silent := b.tunnel("allowed.test", "allowed.test")
			silent.send("GET /silent HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\n\r\n")
			b.awaitRunning(5)

			b.reload(tt.change)

			if n := b.countRunning(); n != 1 {
				t.Errorf("%d requests run after the reload, want the bystander", n)
			}
			open.send(request)
			refused(t, open.response("GET"), 403, tt.reason)
			refused(t, silent.response("GET"), 403, reasonRevoked)
			for name, s := range map[string]*http.Response{"stream": stream, "HTTP/2 stream": h2stream} {
				if n, err := io.Copy(io.Discard, s.Body); err == nil {
					t.Errorf("the %s ended cleanly after %d bytes", name, n)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), testWait)
			defer cancel()
			if _, got, err := socket.Read(ctx); err == nil || ctx.Err() != nil {
				t.Errorf("the WebSocket gives %q, %v", got, err)
			}
			if d := b.loggedReason(reasonRevoked); d.Verdict != sidecars.Deny || d.Layer != layerHost || d.Rule != "allowed.test" {
				t.Errorf("decision = %+v", d)
			}
			lines := bufio.NewReader(bystander.Body)
			for range 20 {
				if line, err := lines.ReadString('\n'); err != nil || line != "tick\n" {
					t.Fatalf("the bystander's stream gives %q, %v", line, err)
				}
			}
		})
	}
}

func (b *bed) countRunning() int {
	b.proxy.running.mu.Lock()
	defer b.proxy.running.mu.Unlock()
	return len(b.proxy.running.all)
}

func (b *bed) awaitRunning(n int) {
	b.t.Helper()
	for end := time.Now().Add(testWait); b.countRunning() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%d requests run, want %d", b.countRunning(), n)
		}
	}
}

// An idle connection to an upstream belongs to the policy that opened it.
func TestReloadReplacesUpstreamConnections(t *testing.T) {
	b := withHandler(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Peer", r.RemoteAddr) })
	c := b.client(false)
	peer := func() string {
		resp, err := c.Get(b.secureURL("allowed.test", "/"))
		check(t, err)
		defer resp.Body.Close()
		return resp.Header.Get("Peer")
	}
	before := peer()
	if peer() != before {
		t.Fatal("the proxy does not keep connections; this test says nothing")
	}
	b.reload(func(r []sidecars.Route) []sidecars.Route { return r })
	if peer() == before {
		t.Error("the connection of the earlier policy is used")
	}
}

func TestReloadRotatesTokens(t *testing.T) {
	b := withHandler(t, ticker)
	open := b.tunnel("auth.test", "auth.test")
	request := "GET / HTTP/1.1\r\nHost: " + b.target("auth.test") + "\r\n\r\n"
	sent := func() string {
		open.send(request)
		open.response("GET")
		return b.arrived().Header.Get("Authorization")
	}
	if !strings.Contains(sent(), testToken) {
		t.Fatal("the first token is not sent")
	}
	stream, err := b.client(false).Get(b.secureURL("auth.test", "/endless"))
	check(t, err)
	defer stream.Body.Close()
	check(t, b.proxy.Reload(b.cfg, sidecars.Secrets{Tokens: map[string]secret.Value{"T0": secret.New("the-second-token")}}))
	if got := sent(); strings.Contains(got, testToken) || !strings.Contains(got, "the-second-token") {
		t.Errorf("after the change the origin saw %s", got)
	}
	if _, err := io.Copy(io.Discard, stream.Body); err == nil {
		t.Error("a stream that began with the first token ended cleanly")
	}
	// A token that is not given again stays, and what was one is still a secret.
	before := b.proxy.current.Load().searches
	check(t, b.proxy.Reload(b.cfg, sidecars.Secrets{}))
	if b.proxy.current.Load().searches != before {
		t.Error("what is searched for was compiled anew, though nothing changed")
	}
	for _, token := range []string{testToken, "the-second-token"} {
		resp, err := b.client(false).Get(b.secureURL("allowed.test", "/?leak="+token))
		check(t, err)
		body, err := io.ReadAll(resp.Body)
		check(t, err)
		check(t, resp.Body.Close())
		if !strings.Contains(string(body), reasonSecretQuery) {
			t.Errorf("%s leaves the bottle after the rotation: %s", token, body)
		}
	}
	if got := sent(); !strings.Contains(got, "the-second-token") {
		t.Errorf("after a reload without secrets the origin saw %s", got)
	}
}

// However requests and reloads mingle, no request is carried out that the
// policy in force when it was answered did not allow.
func TestReloadUnderLoad(t *testing.T) {
	b := newBed(t, nil)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var answered, refusals atomic.Int64
	for i := range 4 {
		clients.Go(func() {
			c := b.client(i%2 == 0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := c.Get(b.secureURL("allowed.test", "/"))
				if err != nil {
					continue // a tunnel that was refused
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					answered.Add(1)
				} else {
					refusals.Add(1)
				}
			}
		})
	}
	whole := slices.Clone(b.cfg.Routes)
	for i := range 60 {
		if i%2 == 0 {
			b.reload(without("allowed.test"))
			if n := b.countRunning(); n != 0 {
				t.Errorf("%d requests run under a policy that allows none", n)
			}
		} else {
			b.reload(func([]sidecars.Route) []sidecars.Route { return whole })
		}
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	clients.Wait()
	if answered.Load() == 0 || refusals.Load() == 0 {
		t.Errorf("%d answers and %d refusals: nothing was tried", answered.Load(), refusals.Load())
	}
	b.awaitRunning(0)
}
