package egress

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// budgeted is a bed whose first route has a budget.
func budgeted(t testing.TB, budget sidecars.Budget, h http.HandlerFunc) *bed {
	return newBed(t, func(_ *bed, c *bedConfig) {
		c.routes[0].Budget = &budget
		if h != nil {
			c.handler = h
		}
	})
}

func TestBudgetOfRequests(t *testing.T) {
	b := budgeted(t, sidecars.Budget{Requests: 3}, nil)
	c := b.client(false)
	ask := func(host string) *http.Response {
		resp, err := c.Get(b.secureURL(host, "/"))
		check(t, err)
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	for range 3 {
		if resp := ask("allowed.test"); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	demand := func() {
		t.Helper()
		resp := ask("allowed.test")
		got := refused(t, resp, http.StatusTooManyRequests, reasonBudgetRequests)
		if resp.Header.Get("Retry-After") != "3600" || resp.Header.Get("X-Should-Retry") != "false" || got.RetryAfter != 3600 || got.Rule != "allowed.test" {
			t.Errorf("header %v, %+v", resp.Header, got)
		}
	}
	demand()
	if resp := ask("other.test"); resp.StatusCode != http.StatusOK {
		t.Errorf("a route without a budget: %s", resp.Status)
	}
	d := b.loggedReason(reasonBudgetRequests)
	if d.Layer != layerBudget || d.Verdict != sidecars.Deny || d.Rule != "allowed.test" {
		t.Errorf("decision = %+v", d)
	}
	t.Run("another policy", func(t *testing.T) {
		b.reload(func(r []sidecars.Route) []sidecars.Route { return r })
		demand()
		b.reload(without("allowed.test"))
		b.reload(func([]sidecars.Route) []sidecars.Route {
			r := b.proxy.current.Load().table.policy.Routes()
			return append(r, sidecars.Route{Host: "allowed.test", Ports: r[0].Ports, Private: r[0].Private, Budget: &sidecars.Budget{Requests: 3}})
		})
		demand()
		b.reload(altered("allowed.test", func(r *sidecars.Route) { r.Budget = &sidecars.Budget{Requests: 4} }))
		if resp := ask("allowed.test"); resp.StatusCode != http.StatusOK {
			t.Errorf("with a larger budget: %s", resp.Status)
		}
		demand()
	})
	t.Run("shown", func(t *testing.T) {
		resp, err := c.Get("http://" + localHost + "/allowlist")
		check(t, err)
		var list struct {
			Allowed []allowedHost `json:"allowed"`
		}
		check(t, json.NewDecoder(resp.Body).Decode(&list))
		for _, h := range list.Allowed {
			switch {
			case h.Host == "allowed.test" && (h.Budget == nil || h.Budget.Limits.Requests != 4 || h.Budget.Used.Requests != 4 || h.Budget.Used.LastMinute != 4):
				t.Errorf("budget %+v", h.Budget)
			case h.Host == "other.test" && h.Budget != nil:
				t.Errorf("budget of a route without one: %+v", h.Budget)
			}
		}
	})
}

func TestBudgetOfRate(t *testing.T) {
	b := budgeted(t, sidecars.Budget{PerMinute: 5}, nil)
	now := time.Unix(1e9, 0)
	b.proxy.meters["allowed.test"].now = func() time.Time { return now }
	c := b.client(true)
	count := func(n int) (allowed int, last *http.Response) {
		for range n {
			resp, err := c.Get(b.secureURL("allowed.test", "/"))
			check(t, err)
			if resp.StatusCode == http.StatusOK {
				allowed++
			}
			last = resp
			t.Cleanup(func() { _ = resp.Body.Close() })
		}
		return allowed, last
	}
	allowed, last := count(8)
	if allowed != 5 {
		t.Errorf("%d requests at once", allowed)
	}
	refused(t, last, http.StatusTooManyRequests, reasonRateLimited)
	seconds, err := strconv.Atoi(last.Header.Get("Retry-After"))
	if err != nil || seconds < 1 || seconds > 61 || last.Header.Get("X-Should-Retry") != "true" {
		t.Errorf("header %v", last.Header)
	}
	now = now.Add(time.Duration(seconds-1) * time.Second)
	if allowed, _ := count(1); allowed != 0 {
		t.Error("a request is allowed before the time that was told")
	}
	now = now.Add(time.Second)
	if allowed, _ := count(8); allowed != 5 {
		t.Errorf("%d requests a minute later", allowed)
	}
}

// Whatever the times, no minute holds more than the bound, and waiting as long
// as was told helps.
func TestWindow(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var w window
		limit := 1 + random.Int64N(20)
		now := time.Unix(1e9, random.Int64N(1e9))
		var taken []time.Time
		for range 500 {
			now = now.Add(time.Duration(random.Int64N(int64(4*time.Minute) / (limit * 8))))
			if w.sum(now) < limit {
				w.add(now, 1)
				taken = append(taken, now)
			} else if later := now.Add(w.wait(now, limit-1)); w.sum(later) >= limit {
				t.Fatalf("after the wait of %s there is no room", later.Sub(now))
			}
		}
		for i := range taken {
			if j := i + int(limit); j < len(taken) && taken[j].Sub(taken[i]) < time.Minute {
				t.Fatalf("%d requests within %s", limit+1, taken[j].Sub(taken[i]))
			}
		}
		if len(taken) < int(limit) {
			t.Fatalf("%d of %d: nothing was tried", len(taken), limit)
		}
	}
}

func TestBudgetOfBytesOut(t *testing.T) {
	const limit = 100_000
	type upload struct {
		n   int64
		err error
	}
	uploads := make(chan upload, 1)
	origin := func(_ http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		uploads <- upload{n, err}
	}
	// Sent in pieces, so that the size is not known before.
	stream := func(n int) io.Reader {
		return io.MultiReader(strings.NewReader(strings.Repeat("x", n/2)), io.LimitReader(strings.NewReader(strings.Repeat("y", n)), int64(n-n/2)))
	}
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%v", h2), func(t *testing.T) {
			b := budgeted(t, sidecars.Budget{BytesOut: limit}, origin)
			c := b.client(h2)
			send := func(host string, body io.Reader) (*http.Response, error) {
				resp, err := c.Post(b.secureURL(host, "/"), "text/plain", body)
				if err == nil {
					t.Cleanup(func() { _ = resp.Body.Close() })
				}
				return resp, err
			}
			resp, err := send("allowed.test", strings.NewReader(strings.Repeat("x", limit+1)))
			check(t, err)
			refused(t, resp, http.StatusTooManyRequests, reasonBudgetOut)
			select {
			case u := <-uploads:
				t.Errorf("the server saw a request of known size: %+v", u)
			default:
			}
			if resp, err = send("allowed.test", stream(limit+1)); err == nil {
				refused(t, resp, http.StatusTooManyRequests, reasonBudgetOut)
			}
			if u := <-uploads; u.n > limit || u.err == nil {
				t.Errorf("the server saw %d bytes and the end %v", u.n, u.err)
			}
			// The control: without a budget the same body arrives whole.
			_, err = send("other.test", stream(limit+1))
			check(t, err)
			if u := <-uploads; u.n != limit+1 || u.err != nil {
				t.Errorf("control: the server saw %d bytes and the end %v", u.n, u.err)
			}
			b.loggedReason(reasonBudgetOut)
		})
	}
}

func TestBudgetOfBytesIn(t *testing.T) {
	const limit = 300_000
	b := budgeted(t, sidecars.Budget{BytesIn: limit}, func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		if r.URL.Path == "/sized" {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		for chunk := 1000; size > 0; size -= chunk {
			chunk = min(chunk, size)
			_, _ = w.Write(make([]byte, chunk))
			_ = http.NewResponseController(w).Flush()
		}
	})
	resp, err := b.client(false).Get(b.secureURL("allowed.test", "/sized?size=300001"))
	check(t, err)
	refused(t, resp, http.StatusTooManyRequests, reasonBudgetIn)
	// Many at once share what there is.
	var total atomic.Int64
	var clean atomic.Int64
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			resp, err := b.client(i%2 == 0).Get(b.secureURL("allowed.test", "/stream?size=100000"))
			if err != nil || resp.StatusCode == http.StatusTooManyRequests {
				return
			}
			defer resp.Body.Close()
			n, err := io.Copy(io.Discard, resp.Body)
			total.Add(n)
			if err == nil {
				clean.Add(1)
			}
			if err == nil && n != 100_000 {
				t.Errorf("a clean end after %d bytes", n)
			}
		})
	}
	clients.Wait()
	if total.Load() > limit || total.Load() < limit/2 || clean.Load() > 3 {
		t.Errorf("%d bytes of %d arrived, %d answers whole", total.Load(), limit, clean.Load())
	}
	if d := b.loggedReason(reasonBudgetIn); d.Layer != layerBudget || d.Verdict != sidecars.Deny {
		t.Errorf("decision = %+v", d)
	}
	// The control: without a budget all of it arrives.
	resp, err = b.client(false).Get(b.secureURL("other.test", "/stream?size=300001"))
	check(t, err)
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != 300_001 {
		t.Errorf("control: %d bytes, %v", n, err)
	}
}

func TestBudgetOfWebSocket(t *testing.T) {
	for name, budget := range map[string]sidecars.Budget{"out": {BytesOut: 50_000}, "in": {BytesIn: 50_000}} {
		t.Run(name, func(t *testing.T) {
			b := budgeted(t, budget, socketEcho)
			ctx, cancel := context.WithTimeout(t.Context(), testWait)
			defer cancel()
			for host, within := range map[string]bool{"allowed.test": true, "other.test": false} {
				c := b.dialSocket(t, b.secureURL(host, "/"))
				defer c.CloseNow()
				messages, err := 0, error(nil)
				for err == nil && messages < 100 {
					if err = c.Write(ctx, websocket.MessageBinary, make([]byte, 1000)); err == nil {
						_, _, err = c.Read(ctx)
					}
					if err == nil {
						messages++
					}
				}
				if cut := err != nil && ctx.Err() == nil && messages <= 50 && messages >= 40; cut != within {
					t.Errorf("%s: %d messages, %v", host, messages, err)
				}
			}
		})
	}
}

// TestDataInNames carries data out in names below a wildcard. Each is a question
// to a resolver that the attacker owns.
func TestDataInNames(t *testing.T) {
	tests := []struct {
		name string
		host func(i int) string
		most int // names that may be asked for
	}{
		{"many names", func(i int) string { return fmt.Sprintf("n%d", i) }, maxNames},
		{"long names", func(i int) string { return fmt.Sprintf("%s.%02d", strings.Repeat("k7x", 20), i) }, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, nil)
			for i := range maxNames + 1 {
				b.names.set(tt.host(i)+".wild.test", "127.0.0.1")
			}
			c := b.client(false)
			ask := func(i int) *http.Response {
				resp, err := c.Get(b.plainURL(tt.host(i)+".wild.test", "/"))
				check(t, err)
				t.Cleanup(func() { _ = resp.Body.Close() })
				return resp
			}
			asked := 0
			for asked <= maxNames {
				if resp := ask(asked); resp.StatusCode != http.StatusOK {
					refused(t, resp, http.StatusTooManyRequests, reasonLabelBudget)
					break
				}
				asked++
			}
			if asked != tt.most {
				t.Errorf("%d names were asked for, want %d", asked, tt.most)
			}
			if got := len(b.names.asked); got != asked {
				t.Errorf("the resolver was asked for %d names", got)
			}
			if resp := ask(0); resp.StatusCode != http.StatusOK {
				t.Errorf("a name that was asked for already: %s", resp.Status)
			}
			if d := b.loggedReason(reasonLabelBudget); d.Layer != layerBudget || d.Rule != "*.wild.test" {
				t.Errorf("decision = %+v", d)
			}
		})
	}
	t.Run("slowly", func(t *testing.T) {
		m, now := newMeter(), time.Unix(1e9, 0)
		m.now = func() time.Time { return now }
		allowed, bits := 0, 0.0
		for i := range 10_000 {
			name := fmt.Sprintf("%s%d", strings.Repeat("q9", 25), i)
			if m.begin(name, 0) == nil {
				allowed++
				bits += nameBits(name)
			}
			now = now.Add(time.Minute)
		}
		if allowed == 0 || bits > maxNameBits {
			t.Errorf("%d names of %.0f bits in a week", allowed, bits)
		}
	})
	t.Run("an exact host has no names", func(t *testing.T) {
		if below := (&route{rule: "allowed.test"}).below("allowed.test"); below != "" {
			t.Errorf("below is %q", below)
		}
	})
}

func TestNameBits(t *testing.T) {
	for name, want := range map[string]int{"0123456789": 33, "deadbeef": 32, "abcxyz": 28, "a1": 8, "z1": 10, "a-b": 15, "": 0} {
		if got := int(nameBits(name)); got != want {
			t.Errorf("%q: %d bits, want %d", name, got, want)
		}
	}
}
