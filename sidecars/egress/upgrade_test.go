package egress

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// socketEcho is an origin that echoes WebSocket messages.
func socketEcho(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(8 << 20)
	for {
		kind, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if c.Write(r.Context(), kind, data) != nil {
			return
		}
	}
}

func (b *bed) dialSocket(t testing.TB, url string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testWait)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: b.client(false).Transport}})
	check(t, err)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %s", resp.Status)
	}
	c.SetReadLimit(8 << 20)
	return c
}

func TestWebSocket(t *testing.T) {
	b := withHandler(t, socketEcho)
	for name, url := range map[string]string{"TLS": b.secureURL("allowed.test", "/"), "plain": b.plainURL("allowed.test", "/")} {
		t.Run(name, func(t *testing.T) {
			c := b.dialSocket(t, url)
			defer c.CloseNow()
			ctx, cancel := context.WithTimeout(t.Context(), testWait)
			defer cancel()
			for _, size := range []int{0, 1, 125, 70000, 4 << 20} {
				msg := bytes.Repeat([]byte("x"), size)
				check(t, c.Write(ctx, websocket.MessageBinary, msg))
				_, got, err := c.Read(ctx)
				check(t, err)
				if !bytes.Equal(got, msg) {
					t.Fatalf("message of %d bytes came back with %d", size, len(got))
				}
			}
			check(t, c.Close(websocket.StatusNormalClosure, ""))
		})
	}
	d := b.logged("a finished tunnel", func(d sidecars.Decision) bool { return d.Status == http.StatusSwitchingProtocols })
	if d.BytesIn < 4<<20 || d.BytesOut < 4<<20 || d.Verdict != "allow" {
		t.Errorf("decision = %+v", d)
	}
}

func TestWebSocketInjection(t *testing.T) {
	var auth atomic.Value
	b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
		auth.Store(r.Header.Get("Authorization"))
		socketEcho(w, r)
	})
	c := b.dialSocket(t, b.secureURL("auth.test", "/"))
	defer c.CloseNow()
	if got := auth.Load(); got != "Bearer "+testToken {
		t.Errorf("origin's Authorization = %q", got)
	}
}

func TestUpgradeAnswers(t *testing.T) {
	b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/plain":
			_, _ = io.WriteString(w, "no socket here")
		case "/other":
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: evil\r\n\r\n")
			_ = rw.Flush()
		}
	})
	const handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	t.Run("declined", func(t *testing.T) {
		c := b.tunnel("allowed.test", "allowed.test")
		// A request behind a declined handshake was never inspected.
		c.send("GET /plain HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\n" + handshake + "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n")
		resp := c.response("GET")
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || string(body) != "no socket here" || !resp.Close {
			t.Errorf("%s %q, close %v", resp.Status, body, resp.Close)
		}
		if rest, _ := io.ReadAll(c.r); len(rest) > 0 {
			t.Errorf("more answers: %q", rest)
		}
	})
	t.Run("other protocol", func(t *testing.T) {
		c := b.tunnel("allowed.test", "allowed.test")
		c.send("GET /other HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\n" + handshake)
		refused(t, c.response("GET"), 502, reasonUpstreamFailed)
	})
}

// rawSocket is an origin that switches protocols and hands the connection to f.
func rawSocket(f func(conn net.Conn, r io.Reader)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = rw.Flush()
		f(conn, rw)
	}
}

func (b *bed) switched(t testing.TB, early string) *rawConn {
	t.Helper()
	c := b.tunnel("allowed.test", "allowed.test")
	c.send("GET / HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + early)
	resp, err := http.ReadResponse(c.r, nil)
	check(t, err)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %s", resp.Status)
	}
	return c
}

// Bytes that came with the handshake are replayed, and a half-close goes
// through while the other direction still flows.
func TestTunnelReplaysAndHalfCloses(t *testing.T) {
	b := withHandler(t, rawSocket(func(conn net.Conn, r io.Reader) {
		all, _ := io.ReadAll(r)
		_, _ = conn.Write(append(plainFrame(opText, "got"), plainFrame(opBinary, string(all))...))
	}))
	early, late := maskedFrame(opText, "early"), maskedFrame(opText, "late")
	c := b.switched(t, string(early))
	c.send(string(late))
	check(t, closeWrite(c.Conn))
	raw, err := io.ReadAll(c.r)
	if want := append(plainFrame(opText, "got"), plainFrame(opBinary, string(early)+string(late))...); err != nil || !bytes.Equal(raw, want) {
		t.Errorf("%q, want %q, %v", raw, want, err)
	}
}

func TestTunnelEnds(t *testing.T) {
	closed := make(chan struct{}, 1)
	ignore := rawSocket(func(conn net.Conn, r io.Reader) { // ignores the half-close
		buf := make([]byte, 1)
		for {
			if _, err := r.Read(buf); err != nil {
				break
			}
		}
		for { // notices only when the connection is gone
			time.Sleep(10 * time.Millisecond)
			if _, err := conn.Write(plainFrame(opPing, "")); err != nil {
				closed <- struct{}{}
				return
			}
		}
	})
	for _, tt := range []struct {
		name   string
		limits Limits
		leave  func(c *rawConn)
	}{
		{"peer ignores half-close", Limits{HalfClosed: 200 * time.Millisecond}, func(c *rawConn) { _ = closeWrite(c.Conn) }},
		{"client vanishes", Limits{HalfClosed: 200 * time.Millisecond}, func(c *rawConn) { _ = c.Close() }},
		{"nothing moves", Limits{Idle: 200 * time.Millisecond}, func(*rawConn) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, func(_ *bed, c *bedConfig) { c.handler, c.opts.Limits = ignore, tt.limits })
			tt.leave(b.switched(t, ""))
			select {
			case <-closed:
			case <-time.After(testWait):
				t.Fatal("the upstream connection stayed open")
			}
			b.logged("the tunnel's end", func(d sidecars.Decision) bool { return d.Status == http.StatusSwitchingProtocols })
		})
	}
}

// quiet waits until the proxy holds no connection and runs no handler.
func (b *bed) quiet() {
	b.t.Helper()
	held := func() (int, int64) {
		b.proxy.live.mu.Lock()
		defer b.proxy.live.mu.Unlock()
		return len(b.proxy.live.open), b.proxy.live.handlers.Load()
	}
	for end := time.Now().Add(testWait); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if conns, handlers := held(); conns == 0 && handlers == 0 {
			return
		}
	}
	conns, handlers := held()
	b.t.Fatalf("%d connections and %d handlers left", conns, handlers)
}
