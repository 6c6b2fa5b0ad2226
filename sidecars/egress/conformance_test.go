package egress

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// conformer is a bed whose origin does what a row asks it to by its path.
type conformer struct {
	*bed
	next    chan struct{} // an event may be written
	gone    chan struct{} // a request was given up
	running atomic.Int64
	most    atomic.Int64 // requests at the origin at a time
	read    atomic.Int64 // bytes of bodies that the origin read
	tails   atomic.Pointer[http.Header]
}

func newConformer(t *testing.T) *conformer {
	c := &conformer{next: make(chan struct{}), gone: make(chan struct{}, 1<<14)}
	c.bed = newBed(t, func(b *bed, bc *bedConfig) {
		open := bc.routes[0]
		open.Host, open.DLP = "off.test", &sidecars.DLP{Outbound: []string{}, Inbound: []string{}}
		bc.routes = append(bc.routes, open)
		b.names.set("off.test", "127.0.0.1")
		bc.handler = http.HandlerFunc(c.serve)
		bc.opts.Limits = Limits{Handshake: time.Second, HalfClosed: 200 * time.Millisecond}
	})
	return c
}

func (c *conformer) serve(w http.ResponseWriter, r *http.Request) {
	for now := c.running.Add(1); ; {
		if most := c.most.Load(); now <= most || c.most.CompareAndSwap(most, now) {
			break
		}
	}
	defer c.running.Add(-1)
	rc := http.NewResponseController(w)
	h := w.Header()
	switch r.URL.Path {
	case "/events":
		h.Set("Content-Type", r.Header.Get("Accept"))
		for i := range 3 {
			_ = rc.Flush()
			select {
			case <-c.next:
			case <-r.Context().Done():
				return
			}
			_, _ = fmt.Fprintf(w, "event %d\n", i)
		}
	case "/trailers":
		n, _ := io.Copy(io.Discard, r.Body)
		c.read.Add(n)
		trailer := r.Trailer.Clone()
		c.tails.Store(&trailer)
		h.Set("Trailer", "Grpc-Status")
		_, _ = io.WriteString(w, "hello")
		h.Set("Grpc-Status", "0")
	case "/hints":
		h.Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		h.Del("Link")
		_, _ = io.WriteString(w, "done")
	case "/duplex":
		echoBytes(w, r)
	case "/upload":
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n)
	case "/reject":
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case "/gzip":
		h.Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "\x1f\x8b\x08 as it is")
	case "/wait":
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		c.gone <- struct{}{}
	case "/breaks":
		_, _ = io.WriteString(w, "half")
		_ = rc.Flush()
		panic(http.ErrAbortHandler)
	case "/range":
		h.Set("Content-Type", "text/plain")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	case "/ws":
		socketEcho(w, r)
	default:
		echo(w, r)
	}
}

// conformanceRow is a row of the table of what a proxy must get right.
type conformanceRow struct {
	name string
	run  func(t *testing.T, c *conformer)
}

// TestConformance has a row for each row of the table by which proxies were
// compared, spoken on sockets by hand, and then what every intercepting proxy for
// agents has to refuse.
func TestConformance(t *testing.T) {
	rows := append(append(streamRows(), refusalRows()...), h2Rows()...)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.run(t, newConformer(t)) })
	}
}

// ask opens a tunnel, sends a request and returns the answer with its body unread.
func (c *conformer) ask(t *testing.T, host, request string) (*rawConn, *http.Response) {
	t.Helper()
	conn := c.tunnel(host, host)
	line, rest, _ := strings.Cut(request, "\r\n")
	conn.send(line + " HTTP/1.1\r\nHost: " + c.target(host) + "\r\n" + rest)
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(conn.r, &http.Request{Method: method})
	check(t, err)
	return conn, resp
}

// status demands one.
func status(t *testing.T, resp *http.Response, want int) {
	t.Helper()
	if resp.StatusCode != want {
		t.Fatalf("%s: %.300s", resp.Status, body(t, resp))
	}
}

func streamRows() []conformanceRow {
	return []conformanceRow{
		{"SSE and NDJSON, no event waits for the next", func(t *testing.T, c *conformer) {
			for _, kind := range []string{"text/event-stream", "application/x-ndjson"} {
				_, resp := c.ask(t, "allowed.test", "GET /events\r\nAccept: "+kind+"\r\n\r\n")
				lines := bufio.NewReader(resp.Body)
				for i := range 3 {
					c.next <- struct{}{} // the origin writes only after the last event arrived
					if line, err := lines.ReadString('\n'); err != nil || line != fmt.Sprintf("event %d\n", i) {
						t.Fatalf("%s: %q, %v", kind, line, err)
					}
				}
			}
		}},
		{"response trailers", func(t *testing.T, c *conformer) {
			_, resp := c.ask(t, "allowed.test", "GET /trailers\r\nTE: trailers\r\n\r\n")
			if text := body(t, resp); text != "hello" || resp.Trailer.Get("Grpc-Status") != "0" {
				t.Errorf("%q, trailers %v", text, resp.Trailer)
			}
		}},
		{"request trailers, chunked both ways", func(t *testing.T, c *conformer) {
			_, resp := c.ask(t, "allowed.test", "POST /trailers\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 42\r\n\r\n")
			if resp.TransferEncoding == nil || body(t, resp) != "hello" || c.tails.Load().Get("X-Sum") != "42" || c.read.Load() != 7 {
				t.Errorf("%v, %d bytes, the origin's trailers %v", resp.TransferEncoding, c.read.Load(), *c.tails.Load())
			}
		}},
		{"103 early hints", func(t *testing.T, c *conformer) {
			conn, resp := c.ask(t, "allowed.test", "GET /hints\r\n\r\n")
			if resp.StatusCode != http.StatusEarlyHints || resp.Header.Get("Link") != "</a.css>" {
				t.Fatalf("%s %v", resp.Status, resp.Header)
			}
			if resp = conn.response("GET"); resp.StatusCode != http.StatusOK || body(t, resp) != "done" || resp.Header.Get("Link") != "" {
				t.Errorf("%s %v", resp.Status, resp.Header)
			}
		}},
		{"bidirectional body", func(t *testing.T, c *conformer) {
			conn, resp := c.ask(t, "off.test", "POST /duplex\r\nTransfer-Encoding: chunked\r\n\r\n")
			one := make([]byte, 1)
			for i := range 5 {
				conn.send(fmt.Sprintf("1\r\n%d\r\n", i))
				if _, err := io.ReadFull(resp.Body, one); err != nil || one[0] != byte('0'+i) {
					t.Fatalf("%q, %v", one, err)
				}
			}
			conn.send("0\r\n\r\n")
			if rest := body(t, resp); rest != "" {
				t.Errorf("rest %q", rest)
			}
		}},
		{"Expect: 100-continue, upload", func(t *testing.T, c *conformer) {
			conn, resp := c.ask(t, "allowed.test", "POST /upload\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
			status(t, resp, http.StatusContinue)
			conn.send("hello")
			if resp = conn.response("POST"); resp.StatusCode != http.StatusOK || body(t, resp) != "5" {
				t.Errorf("%s", resp.Status)
			}
		}},
		{"Expect: 100-continue, final status without the body", func(t *testing.T, c *conformer) {
			for path, want := range map[string]int{"/reject": http.StatusRequestEntityTooLarge, "/r/git-receive-pack": http.StatusForbidden} {
				_, resp := c.ask(t, "allowed.test", "POST "+path+"\r\nContent-Length: 3000000\r\nExpect: 100-continue\r\n\r\n")
				status(t, resp, want) // and no 100 before it
			}
		}},
		{"gzip answer untouched", func(t *testing.T, c *conformer) {
			_, resp := c.ask(t, "allowed.test", "GET /gzip\r\nAccept-Encoding: gzip\r\n\r\n")
			if text := body(t, resp); text != "\x1f\x8b\x08 as it is" || resp.Header.Get("Content-Encoding") != "gzip" || resp.ContentLength != int64(len(text)) {
				t.Errorf("%q %v", text, resp.Header)
			}
		}},
		{"ranges", func(t *testing.T, c *conformer) {
			_, resp := c.ask(t, "allowed.test", "GET /range\r\nRange: bytes=2-4\r\n\r\n")
			status(t, resp, http.StatusPartialContent)
			if text := body(t, resp); text != "234" || resp.Header.Get("Content-Range") != "bytes 2-4/10" {
				t.Errorf("%q %v", text, resp.Header)
			}
			// A part could hold half of a credential: where one is put on, the whole is asked for.
			_, resp = c.ask(t, "auth.test", "GET /range\r\nRange: bytes=2-4\r\n\r\n")
			if text := body(t, resp); resp.StatusCode != http.StatusOK || text != "0123456789" {
				t.Errorf("with a credential: %s %q", resp.Status, text)
			}
		}},
		{"client leaves, the upstream is cancelled", func(t *testing.T, c *conformer) {
			for range 20 {
				conn := c.tunnel("allowed.test", "allowed.test")
				conn.send("GET /wait HTTP/1.1\r\nHost: " + c.target("allowed.test") + "\r\n\r\n")
				c.until(t, "the request at the origin", func() bool { return c.running.Load() > 0 })
				conn.Close()
				c.given(t)
				c.until(t, "the origin's end", func() bool { return c.running.Load() == 0 })
			}
			c.quiet()
		}},
		{"upstream dies within a body, the client sees an error", func(t *testing.T, c *conformer) {
			_, resp := c.ask(t, "allowed.test", "GET /breaks\r\n\r\n")
			if raw, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("a clean end after %q", raw)
			}
		}},
		{"WebSocket over TLS, 4 MB message", func(t *testing.T, c *conformer) {
			conn := c.socket(t, "allowed.test", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")
			message := strings.Repeat("a message. ", 4<<20/11)
			sent := make(chan error, 1)
			go func() {
				_, err := conn.Write(maskedFrame(opText, message))
				sent <- err
			}()
			var got strings.Builder
			for got.Len() < len(message) {
				_, payload := readFrame(t, conn.r)
				got.WriteString(payload)
			}
			check(t, <-sent)
			if got.String() != message {
				t.Error("it came back changed")
			}
		}},
	}
}

// given waits until a request was given up at the origin.
func (c *conformer) given(t *testing.T) {
	t.Helper()
	select {
	case <-c.gone:
	case <-time.After(testWait):
		t.Fatal("the upstream was not cancelled")
	}
}

// until waits for something that has no other sign.
func (c *conformer) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(testWait); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

// refusing is a row of requests that must be refused on the plain side or inside
// a tunnel to allowed.test. %s stands for its authority.
func refusing(name string, inside bool, status int, reason string, requests ...string) conformanceRow {
	return conformanceRow{name, func(t *testing.T, c *conformer) {
		for _, request := range requests {
			conn := c.raw()
			at := hostPort(schemeHTTP, authority{Host: "allowed.test", Port: c.plainPort})
			if inside {
				conn, at = c.tunnel("allowed.test", "allowed.test"), c.target("allowed.test")
			}
			conn.send(strings.ReplaceAll(request, "%s", at))
			refused(t, conn.response("GET"), status, reason)
			if status == http.StatusMisdirectedRequest {
				continue // it was well-formed, and so may be the next one
			}
			// Whatever follows is no request any more.
			_, _ = io.WriteString(conn, "GET /smuggled HTTP/1.1\r\nHost: "+at+"\r\n\r\n")
			if rest, _ := io.ReadAll(conn.r); len(rest) > 0 {
				t.Errorf("%q is answered again: %q", request, rest)
			}
		}
		// Of what is malformed behind its head the head may arrive, and never an end.
		if at := c.arrived(); at.Host != "" && reason != reasonBody || at.URI == "/smuggled" {
			t.Errorf("the origin was asked for %s", at.URI)
		}
	}}
}

func refusalRows() []conformanceRow {
	const end, post = "\r\n\r\n", "POST / HTTP/1.1\r\nHost: %s\r\n"
	upgrade := func(to string) string {
		return "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: " + to + end
	}
	return []conformanceRow{
		refusing("inner Host is not the CONNECT host", true, http.StatusMisdirectedRequest, reasonHostMismatch, "GET / HTTP/1.1\r\nHost: other.test"+end),
		refusing("inner absolute URI names another host", true, http.StatusMisdirectedRequest, reasonHostMismatch,
			"GET https://other.test/ HTTP/1.1\r\nHost: other.test"+end, "GET https://other.test/ HTTP/1.1\r\nHost: %s"+end),
		{"SNI is not the CONNECT host", func(t *testing.T, c *conformer) {
			conn := c.raw()
			conn.send("CONNECT " + c.target("allowed.test") + " HTTP/1.1" + end)
			status(t, conn.response("CONNECT"), http.StatusOK)
			if err := tls.Client(conn.Conn, &tls.Config{RootCAs: c.authority, ServerName: "other.test"}).Handshake(); err == nil {
				t.Error("the handshake was finished")
			}
			c.loggedReason(reasonSNIMismatch)
		}},
		refusing("two Content-Length, two Host", true, http.StatusBadRequest, reasonLength,
			post+"Content-Length: 3\r\nContent-Length: 3"+end+"abc", post+"Content-Length: 3\r\nContent-Length: 4"+end+"abc", "GET / HTTP/1.1\r\nHost: %s\r\nHost: %s"+end),
		refusing("Content-Length and chunked", true, http.StatusBadRequest, reasonLength,
			post+"Content-Length: 3\r\nTransfer-Encoding: chunked"+end+"0"+end, post+"Transfer-Encoding: chunked\r\nContent-Length: 3"+end+"0"+end),
		refusing("a transfer coding in disguise", true, http.StatusBadRequest, reasonLength,
			post+"Transfer-Encoding: xchunked"+end, post+"Transfer-Encoding: chunked, identity"+end, post+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"+end),
		refusing("folded lines, bare LF, bare CR, NUL", true, http.StatusBadRequest, reasonHead,
			"GET / HTTP/1.1\r\nHost: %s\r\nX: a\r\n b"+end, "GET / HTTP/1.1\nHost: %s\n\n", "GET / HTTP/1.1\r\nHost: %s\r\nX: a\rY: b"+end, "GET / HTTP/1.1\r\nHost: %s\r\nX: \x00"+end,
			post+"Content-Length : 3"+end+"abc"),
		refusing("oversize heads", true, http.StatusRequestHeaderFieldsTooLarge, reasonHeadTooLarge,
			"GET / HTTP/1.1\r\nHost: %s\r\nX: "+strings.Repeat("a", 70<<10)+end, "GET /"+strings.Repeat("a", 70<<10)+" HTTP/1.1\r\nHost: %s"+end,
			"GET / HTTP/1.1\r\nHost: %s\r\n"+strings.Repeat("X: a\r\n", maxHeaderLines+1)+"\r\n"),
		refusing("malformed chunks", true, http.StatusBadRequest, reasonBody,
			post+"Transfer-Encoding: chunked"+end+"3\nabc\r\n0"+end, post+"Transfer-Encoding: chunked"+end+"3;x=y\r\nabc\r\n0"+end, post+"Transfer-Encoding: chunked"+end+"0x3\r\nabc\r\n0"+end),
		refusing("upgrade to h2c and to unknown protocols inside the tunnel", true, http.StatusForbidden, reasonUpgrade, upgrade("h2c"), upgrade("foo"), upgrade("websocket, h2c"), upgrade("TLS/1.0")),
		refusing("upgrade to h2c on the plain port", false, http.StatusForbidden, reasonUpgrade, strings.Replace(upgrade("h2c"), "GET /", "GET http://%s/", 1)),
		refusing("HTTP/2 with prior knowledge on the plain port", false, http.StatusForbidden, reasonUpgrade, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		refusing("HTTP/2 with prior knowledge inside the tunnel", true, http.StatusForbidden, reasonUpgrade, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		{"raw TCP in CONNECT", func(t *testing.T, c *conformer) {
			dialled := len(c.namesAsked())
			for _, said := range []string{"SSH-2.0-OpenSSH_9.2\r\n", "\x00\x01\x02\x03", "EHLO x\r\n", "GET / HTTP/1.1\r\nHost: allowed.test:22\r\n\r\n"} {
				conn := c.raw()
				conn.send("CONNECT " + c.target("auth.test") + " HTTP/1.1" + end)
				status(t, conn.response("CONNECT"), http.StatusOK)
				conn.send(said)
				refused(t, conn.response("GET"), http.StatusBadRequest, reasonPlaintext)
				if rest, _ := io.ReadAll(conn.r); len(rest) > 0 {
					t.Errorf("%q is answered with %q", said, rest)
				}
			}
			if got := c.namesAsked(); len(got) != dialled {
				t.Errorf("names were resolved: %v", got)
			}
		}},
		{"raw TCP in a CONNECT that may carry plain HTTP", func(t *testing.T, c *conformer) {
			for _, said := range []string{"SSH-2.0-OpenSSH_9.2\r\n\r\n", "\x00\x01\x02\x03\r\n\r\n", "EHLO x\r\n\r\n"} {
				conn := c.raw()
				conn.send("CONNECT " + hostPort(schemeHTTP, authority{Host: "allowed.test", Port: c.plainPort}) + " HTTP/1.1" + end)
				status(t, conn.response("CONNECT"), http.StatusOK)
				conn.send(said)
				status(t, conn.response("GET"), http.StatusBadRequest)
			}
			if at := c.arrived(); at.Host != "" {
				t.Errorf("the origin was asked for %s", at.URI)
			}
		}},
		{"CONNECT and ClientHello in one packet", func(t *testing.T, c *conformer) {
			conn := c.raw()
			early := &prefixed{Conn: conn.Conn, prefix: []byte("CONNECT " + c.target("allowed.test") + " HTTP/1.1" + end), t: t}
			secure := tls.Client(early, &tls.Config{RootCAs: c.authority, ServerName: "allowed.test", NextProtos: []string{protoH1}})
			check(t, secure.Handshake())
			inside := &rawConn{t: t, Conn: secure, r: bufio.NewReader(secure)}
			inside.send("GET / HTTP/1.1\r\nHost: " + c.target("allowed.test") + end)
			status(t, inside.response("GET"), http.StatusOK)
		}},
		{"50 silent CONNECTs are closed", func(t *testing.T, c *conformer) {
			var all []*rawConn
			for range 50 {
				conn := c.raw()
				conn.send("CONNECT " + c.target("allowed.test") + " HTTP/1.1" + end)
				status(t, conn.response("CONNECT"), http.StatusOK)
				all = append(all, conn)
			}
			for _, conn := range all {
				if _, err := conn.r.ReadByte(); !errors.Is(err, io.EOF) {
					t.Fatalf("a silent tunnel: %v", err)
				}
			}
			c.quiet()
			c.loggedReason(reasonClientTimeout)
		}},
		{"Alt-Svc is dropped", func(t *testing.T, c *conformer) {
			_, resp := c.ask(t, "allowed.test", "GET /\r\n\r\n")
			if resp.Header.Get("Alt-Svc") != "" {
				t.Errorf("%v", resp.Header)
			}
			_, resp = c.ask(t, "allowed.test", "GET /hints\r\n\r\n") // nor can it come in an earlier head
			if resp.Header.Get("Alt-Svc") != "" {
				t.Errorf("%v", resp.Header)
			}
		}},
		{"abrupt WebSocket closes leave nothing", func(t *testing.T, c *conformer) {
			for range 20 {
				conn := c.socket(t, "allowed.test", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")
				_ = conn.Conn.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
				_ = conn.Conn.(*tls.Conn).NetConn().Close()
			}
			c.quiet()
		}},
	}
}

func (b *bed) namesAsked() []string {
	b.names.mu.Lock()
	defer b.names.mu.Unlock()
	return append([]string(nil), b.names.asked...)
}

// prefixed sends something together with the first bytes, and skips the answer
// to it.
type prefixed struct {
	net.Conn
	prefix  []byte
	skipped bool
	t       *testing.T
}

func (p *prefixed) Write(b []byte) (int, error) {
	if p.prefix == nil {
		return p.Conn.Write(b)
	}
	whole := append(p.prefix, b...)
	p.prefix = nil
	if _, err := p.Conn.Write(whole); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (p *prefixed) Read(b []byte) (int, error) {
	if !p.skipped {
		p.skipped = true
		head := make([]byte, len(connectOK))
		if _, err := io.ReadFull(p.Conn, head); err != nil || !bytes.Equal(head, []byte(connectOK)) {
			p.t.Errorf("CONNECT: %q, %v", head, err)
		}
	}
	return p.Conn.Read(b)
}
