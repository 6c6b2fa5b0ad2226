package egress

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// What a guest can make the proxy hold is listed in docs/egress.md. Each bound has
// a test: here, or in TestConnectionLimit, TestGuardBoundsHeads, TestGuardRefusesChunks,
// TestConformance, TestUnreadableBodies, TestDecompressionBomb, TestRedTeamD5.

// slow is a time that a slow client exceeds. Where an honest part of a row has to
// be quicker than that, it is slower.
const (
	slow   = 400 * time.Millisecond
	slower = 2 * time.Second
)

// trickle sends bytes one by one until the proxy closes, and reports whether it
// did.
func trickle(c net.Conn, text string) (closed bool) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c)
	}()
	tick := time.NewTicker(slow / 10)
	defer tick.Stop()
	for i, end := 0, time.Now().Add(testWait); time.Now().Before(end); i++ {
		select {
		case <-gone:
			return true
		case <-tick.C:
			_, _ = c.Write([]byte{text[i%len(text)]})
		}
	}
	return false
}

// Clients that take their time are not waited for: with a head, a handshake, a
// body, or the reading of an answer.
func TestSlowClients(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		block := bytes.Repeat([]byte("x"), 32<<10)
		if r.Header.Get("Upgrade") != "" {
			rawSocket(func(conn net.Conn, _ io.Reader) {
				for frame := plainFrame(opBinary, string(block)); ; {
					if _, err := conn.Write(frame); err != nil {
						return
					}
				}
			})(w, r)
			return
		}
		if r.Method == http.MethodPost {
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		for {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	idle := Limits{Idle: slower}
	rows := []struct {
		name   string
		limits Limits
		run    func(t *testing.T, b *bed)
	}{
		{"a head, byte by byte", Limits{Head: slow}, func(t *testing.T, b *bed) {
			if !trickle(b.raw(), "GET http://allowed.test/"+strings.Repeat("a", 4096)) {
				t.Error("the connection stays open")
			}
		}},
		{"a head in a tunnel, byte by byte", Limits{Head: slow}, func(t *testing.T, b *bed) {
			if !trickle(b.tunnel("allowed.test", "allowed.test"), "GET /"+strings.Repeat("a", 4096)) {
				t.Error("the connection stays open")
			}
		}},
		{"a handshake, byte by byte", Limits{Handshake: slow}, func(t *testing.T, b *bed) {
			c := b.raw()
			c.send("CONNECT " + b.target("allowed.test") + " HTTP/1.1\r\n\r\n")
			status(t, c.response("CONNECT"), http.StatusOK)
			if !trickle(c, "\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03"+strings.Repeat("a", 200)) {
				t.Error("the connection stays open")
			}
		}},
		{"a body that stops", idle, func(t *testing.T, b *bed) {
			c := b.tunnel("allowed.test", "allowed.test")
			c.send("POST / HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\nContent-Length: 200000\r\n\r\nabc")
			refused(t, c.response("POST"), http.StatusGatewayTimeout, reasonIdle)
		}},
		{"an answer that is not read", idle, func(t *testing.T, b *bed) {
			c := b.tunnel("allowed.test", "allowed.test")
			smallBuffer(c.Conn)
			c.send("GET / HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\n\r\n")
			b.loggedReason(reasonIdle)
		}},
		{"an HTTP/2 stream for which there is no window", idle, func(t *testing.T, b *bed) {
			h := b.h2("allowed.test")
			h.begin(1, true, "GET", b.target("allowed.test"), "/")
			if a := h.answer(1, nil); !a.broken {
				t.Errorf("a whole answer: %+v", a.head)
			}
			b.loggedReason(reasonIdle)
			_ = h.Close() // it may be used for other streams
		}},
		{"an HTTP/2 connection that is not read", idle, func(t *testing.T, b *bed) {
			h := b.h2("allowed.test")
			smallBuffer(h.Conn)
			check(t, h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}))
			check(t, h.WriteWindowUpdate(0, 1<<30))
			h.begin(1, true, "GET", b.target("allowed.test"), "/")
			b.loggedReason(reasonIdle)
		}},
		{"a WebSocket that is not read", idle, func(t *testing.T, b *bed) {
			smallBuffer(b.socket(t, "allowed.test", "").Conn)
			b.loggedReason(reasonIdle)
		}},
		{"a connection that asks nothing more", Limits{KeepAlive: slow}, func(t *testing.T, b *bed) {
			c := b.tunnel("allowed.test", "allowed.test")
			c.send("POST / HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\nContent-Length: 1\r\n\r\nx")
			status(t, c.response("POST"), http.StatusOK)
			if _, err := c.r.ReadByte(); err == nil {
				t.Error("an answer to nothing")
			}
		}},
		{"an HTTP/2 connection that asks nothing", Limits{KeepAlive: slow}, func(_ *testing.T, b *bed) { b.h2("allowed.test") }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // they wait
			b := newBed(t, func(_ *bed, c *bedConfig) { c.handler, c.opts.Limits = http.HandlerFunc(endless), row.limits })
			row.run(t, b)
			b.quiet() // nothing is held any more
		})
	}
}

// smallBuffer has a client take little without reading.
func smallBuffer(c net.Conn) {
	if secure, ok := c.(*tls.Conn); ok {
		_ = secure.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10)
	}
}

// A guest cannot have more held than what is said.
func TestHeldIsBounded(t *testing.T) {
	t.Run("bodies that are scanned whole", func(t *testing.T) {
		sb := newScanBed(t, nil)
		zipped := func(r *http.Request) {
			data := packed(t, "gzip", "nothing")
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
			r.Header.Set("Content-Encoding", "gzip")
		}
		if !sb.proxy.scanned.take(mostScanned) {
			t.Fatal("nothing may be held")
		}
		refused(t, sb.post(t, sb.secureURL("allowed.test", "/"), nil, zipped), http.StatusServiceUnavailable, reasonUnscannable)
		sb.proxy.scanned.give(mostScanned)
		status(t, sb.post(t, sb.secureURL("allowed.test", "/"), nil, zipped), http.StatusOK)
	})
	t.Run("what an HTTP/2 client may send unread", func(t *testing.T) {
		h := newBed(t, nil).h2("allowed.test")
		connection := uint32(65535)
		for updated := false; !updated; {
			f, err := h.ReadFrame()
			check(t, err)
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if v, ok := f.Value(http2.SettingInitialWindowSize); ok && v > maxUnread {
					t.Errorf("%d bytes on a stream", v)
				}
				if v, ok := f.Value(http2.SettingMaxConcurrentStreams); !f.IsAck() && (!ok || v > maxStreams) {
					t.Errorf("%d streams", v)
				}
			case *http2.WindowUpdateFrame:
				connection += f.Increment
				updated = f.StreamID == 0
			}
		}
		if connection > maxUnread {
			t.Errorf("%d bytes on a connection", connection)
		}
	})
	t.Run("frames of a message", func(t *testing.T) {
		for name, piece := range map[string][]byte{"empty": rawFrame(opContinue, true, ""), "pings": maskedFrame(opPing, strings.Repeat("x", maxControl))} {
			ex := &exchange{route: &route{}, gen: &generation{searches: searches{scanner: testScanner(t)}}}
			m := ex.newOutboundMessages()
			defer m.close()
			f := &frames{reader: frameReader{fromClient: true}, look: m}
			if _, no := f.pass(rawFrame(opText, true, foreignToken()[:12])); no != nil {
				t.Fatal(no)
			}
			piece = bytes.Repeat(piece, 64)
			var no *refusal
			for sent := 0; no == nil && sent < 64<<20; sent += len(piece) {
				if _, no = f.pass(piece); cap(f.buf) > 4*mostHeld {
					t.Fatalf("%s: %d bytes are held", name, cap(f.buf))
				}
			}
			if no == nil || no.Reason != reasonUnscannable {
				t.Errorf("%s: %v", name, no)
			}
		}
	})
	t.Run("a server's informational answers and its head", func(t *testing.T) {
		b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/head" {
				w.Header().Set("X-Pad", strings.Repeat("x", maxResponseHead+4096))
				return
			}
			for range maxInformational + 1 {
				w.WriteHeader(http.StatusEarlyHints)
			}
		})
		for _, path := range []string{"/head", "/hints"} {
			c := b.tunnel("allowed.test", "allowed.test")
			c.send("GET " + path + " HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\n\r\n")
			resp := c.response("GET")
			for resp.StatusCode < 200 {
				resp = c.response("GET")
			}
			refused(t, resp, http.StatusBadGateway, reasonUpstreamFailed)
		}
	})
}

// BenchmarkRefusal is how long an agent waits for a refusal: on a connection that
// is open, and for one that is not.
func BenchmarkRefusal(b *testing.B) {
	bed := newBed(b, func(_ *bed, c *bedConfig) { c.opts.Log = io.Discard })
	b.Run("request", func(b *testing.B) {
		client := bed.client(false)
		url := bed.plainURL("evil.test", "/")
		for b.Loop() {
			resp, err := client.Get(url)
			check(b, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
	b.Run("CONNECT", func(b *testing.B) {
		for b.Loop() {
			v := bed.visit()
			v.say(b, "CONNECT evil.test:443 HTTP/1.1\r\n\r\n")
			v.answer(b, http.StatusForbidden)
			_ = v.Close()
		}
	})
}

// BenchmarkWebSocket is a round trip: direct, and through the proxy with
// everything on and with nothing.
func BenchmarkWebSocket(b *testing.B) {
	bed := newBed(b, func(bd *bed, c *bedConfig) {
		c.opts.Log = io.Discard
		open := c.routes[0]
		open.Host, open.DLP = "off.test", &sidecars.DLP{Outbound: []string{}, Inbound: []string{}}
		c.routes = append(c.routes, open)
		bd.names.set("off.test", "127.0.0.1")
		c.handler = rawSocket(func(conn net.Conn, r io.Reader) {
			fr := frameReader{fromClient: true}
			buf := make([]byte, 64<<10)
			for have := 0; ; {
				n, err := r.Read(buf[have:])
				if err != nil {
					return
				}
				have += n
				used, done, _ := fr.readHead(buf[:have])
				if !done || uint64(have-used) < fr.left {
					fr = frameReader{fromClient: true}
					continue
				}
				payload := buf[used : used+int(fr.left)]
				fr.unmask(payload)
				_, _ = conn.Write(plainFrame(opText, string(payload)))
				fr, have = frameReader{fromClient: true}, 0
			}
		})
	})
	for _, size := range []int{32, 4 << 10} {
		message := strings.Repeat(`{"type": "message"} `, 1+size/20)[:size]
		frame, answer := maskedFrame(opText, message), make([]byte, len(plainFrame(opText, message)))
		turn := func(b *testing.B, c net.Conn, r io.Reader) {
			for b.Loop() {
				_, err := c.Write(frame)
				check(b, err)
				_, err = io.ReadFull(r, answer)
				check(b, err)
			}
		}
		for _, host := range []string{"allowed.test", "auth.test", "off.test"} {
			b.Run(fmt.Sprintf("%d bytes/%s", size, host), func(b *testing.B) {
				c := bed.socket(b, host, "")
				check(b, c.SetDeadline(time.Time{}))
				turn(b, c.Conn, c.r)
			})
		}
		b.Run(fmt.Sprintf("%d bytes/direct", size), func(b *testing.B) {
			c := bed.direct(b)
			turn(b, c.Conn, c.r)
		})
	}
}

// direct opens a WebSocket to the origin without the proxy.
func (b *bed) direct(t testing.TB) *rawConn {
	t.Helper()
	secure, err := tls.Dial("tcp", b.secure.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, ServerName: "allowed.test", NextProtos: []string{protoH1}})
	check(t, err)
	t.Cleanup(func() { _ = secure.Close() })
	c := &rawConn{t: t, Conn: secure, r: bufio.NewReader(secure)}
	c.send("GET / HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if _, err := http.ReadResponse(c.r, nil); err != nil {
		t.Fatal(err)
	}
	return c
}
