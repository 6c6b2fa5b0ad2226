package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// withHandler is a bed whose origin does h.
func withHandler(t testing.TB, h http.HandlerFunc) *bed {
	return newBed(t, func(_ *bed, c *bedConfig) { c.handler = h })
}

// Events must not wait for each other, whatever their content type.
func TestStreaming(t *testing.T) {
	next := make(chan struct{})
	b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		flusher := w.(http.Flusher)
		flusher.Flush()
		for i := range 3 {
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
			fmt.Fprintf(w, "event %d\n", i)
			flusher.Flush()
		}
	})
	for _, contentType := range []string{"text/event-stream", "application/x-ndjson", "text/plain"} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s h2=%v", contentType, h2), func(t *testing.T) {
				req := get(t, b.secureURL("allowed.test", "/"))
				req.Header.Set("Accept", contentType)
				resp, err := b.client(h2).Do(req)
				check(t, err)
				defer resp.Body.Close()
				lines := bufio.NewReader(resp.Body)
				for i := range 3 {
					next <- struct{}{} // the origin writes only after the last event arrived
					line, err := lines.ReadString('\n')
					check(t, err)
					if want := fmt.Sprintf("event %d\n", i); line != want {
						t.Fatalf("line %q, want %q", line, want)
					}
				}
			})
		}
	}
}

func TestTrailers(t *testing.T) {
	var got atomic.Value
	b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status, Alt-Svc")
		body, _ := io.ReadAll(r.Body)
		got.Store(r.Trailer.Clone())
		_, _ = w.Write(body)
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set("Alt-Svc", "h3")
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	})
	for _, tt := range []struct {
		name string
		h2   bool
		host string
	}{{"h1", false, "allowed.test"}, {"h2", true, "allowed.test"}, {"h1 injected", false, "auth.test"}, {"h2 injected", true, "auth.test"}} {
		t.Run(tt.name, func(t *testing.T) {
			body := &trailing{Reader: strings.NewReader("hello")}
			req, err := http.NewRequest("POST", b.secureURL(tt.host, "/"), body)
			check(t, err)
			req.Trailer = http.Header{"X-Sum": nil, "X-Api-Key": nil}
			body.end = func() { req.Trailer.Set("X-Sum", "42"); req.Trailer.Set("X-Api-Key", "own") }
			resp, err := b.client(tt.h2).Do(req)
			check(t, err)
			defer resp.Body.Close()
			raw, err := io.ReadAll(resp.Body)
			check(t, err)
			if string(raw) != "hello" {
				t.Errorf("body %q", raw)
			}
			sent := got.Load().(http.Header)
			if sent.Get("X-Sum") != "42" {
				t.Errorf("origin's trailers = %v", sent)
			}
			if injected := tt.host == "auth.test"; (sent.Get("X-Api-Key") == "") != injected {
				t.Errorf("the agent's credential in a trailer: %v", sent)
			}
			if resp.Trailer.Get("Grpc-Status") != "0" || resp.Trailer.Get("X-Late") != "late" || resp.Trailer.Get("Alt-Svc") != "" {
				t.Errorf("client's trailers = %v", resp.Trailer)
			}
		})
	}
}

type trailing struct {
	io.Reader
	end func()
}

func (r *trailing) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		r.end()
	}
	return n, err
}

func TestEarlyHints(t *testing.T) {
	b := withHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "done")
	})
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%v", h2), func(t *testing.T) {
			var hints atomic.Int32
			trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code == http.StatusEarlyHints && h.Get("Link") == "</a.css>" {
					hints.Add(1)
				}
				return nil
			}}
			req := get(t, b.secureURL("allowed.test", "/"))
			resp, err := b.client(h2).Do(req.WithContext(httptrace.WithClientTrace(t.Context(), trace)))
			check(t, err)
			defer resp.Body.Close()
			if hints.Load() != 1 || resp.Header.Get("Link") != "" {
				t.Errorf("%d hints, final Link %q", hints.Load(), resp.Header.Get("Link"))
			}
		})
	}
}

// Each byte is sent only after the last came back: both directions must flow.
// TestFullDuplex has single bytes answered where nothing is scanned, and
// messages where they are.
func TestFullDuplex(t *testing.T) {
	b := newBed(t, func(_ *bed, c *bedConfig) {
		c.routes[0].DLP = &sidecars.DLP{Outbound: []string{}}
		c.handler = http.HandlerFunc(echoBytes)
	})
	message := func(i int) string { return string([]byte{0, 0, 0, 0, 3, 'g', 'h', byte('a' + i)}) }
	for _, tt := range []struct {
		host, kind string
		write      func(i int) string
	}{
		{"allowed.test", "text/plain", func(i int) string { return string(rune('a' + i)) }},
		{"other.test", "application/grpc", message},
		{"other.test", "application/x-ndjson", func(i int) string { return string(rune('a'+i)) + "\n" }},
	} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s h2=%v", tt.kind, h2), func(t *testing.T) {
				pr, pw := io.Pipe()
				req, err := http.NewRequest("POST", b.secureURL(tt.host, "/"), pr)
				check(t, err)
				req.Header.Set("Content-Type", tt.kind)
				resp, err := b.client(h2).Do(req)
				check(t, err)
				defer resp.Body.Close()
				for i := range 20 {
					want := tt.write(i)
					_, err := io.WriteString(pw, want)
					check(t, err)
					got := make([]byte, len(want))
					_, err = io.ReadFull(resp.Body, got)
					check(t, err)
					if string(got) != want {
						t.Fatalf("got %q", got)
					}
				}
				check(t, pw.Close())
				if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
					t.Errorf("rest %q, %v", rest, err)
				}
			})
		}
	}
}

// echoBytes answers while it reads.
func echoBytes(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex()
	_ = rc.Flush()
	buf := make([]byte, 16)
	for {
		n, err := r.Body.Read(buf)
		_, _ = w.Write(buf[:n])
		_ = rc.Flush()
		if err != nil {
			return
		}
	}
}

type countingBody struct {
	n    atomic.Int64
	size int64
}

func (c *countingBody) Read(p []byte) (int, error) {
	left := c.size - c.n.Load()
	if left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), left)
	c.n.Add(n)
	return int(n), nil
}

func TestExpectContinue(t *testing.T) {
	b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/reject" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	tests := []struct {
		name, url string
		status    int
		sent      int64
	}{
		{"accepted", b.secureURL("allowed.test", "/"), 200, 1 << 20},
		{"rejected by the origin", b.secureURL("allowed.test", "/reject"), 413, 0},
		{"refused by policy", b.plainURL("evil.test", "/"), 403, 0},
		{"refused push", b.secureURL("allowed.test", "/r/git-receive-pack"), 403, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := &countingBody{size: 1 << 20}
			req, err := http.NewRequest("POST", tt.url, io.NopCloser(body))
			check(t, err)
			req.ContentLength = body.size
			req.Header.Set("Expect", "100-continue")
			resp, err := b.client(false).Do(req)
			check(t, err)
			defer resp.Body.Close()
			if resp.StatusCode != tt.status || body.n.Load() != tt.sent {
				t.Errorf("%s after %d bytes sent, want %d after %d", resp.Status, body.n.Load(), tt.status, tt.sent)
			}
		})
	}
}

// A refusal does not wait for a body that the client is still sending.
func TestRefusalBeforeBody(t *testing.T) {
	b := newBed(t, nil)
	c := b.raw()
	start := time.Now()
	c.send("POST http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 1000\r\n\r\nabc")
	refused(t, c.response("POST"), 403, reasonHostNotAllowed)
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %s", took)
	}
	// What is left of the body must not be taken for a request.
	c.send("GET http://_egress.local/healthz HTTP/1.1\r\nHost: _egress.local\r\n\r\n")
	if raw, _ := io.ReadAll(c.r); len(raw) > 0 {
		t.Errorf("an answer to the rest of the body: %q", raw)
	}
}

// An origin that answers early leaves a body half read; its rest must not
// become a request either.
func TestEarlyAnswer(t *testing.T) {
	b := withHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusUnauthorized)
	})
	c := b.tunnel("allowed.test", "allowed.test")
	at := b.target("allowed.test")
	c.send("POST / HTTP/1.1\r\nHost: " + at + "\r\nContent-Length: 100000\r\n\r\n")
	if resp := c.response("POST"); resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("status %s", resp.Status)
	}
	_, _ = io.WriteString(c.Conn, "GET / HTTP/1.1\r\nHost: "+at+"\r\n\r\n")
	if raw, _ := io.ReadAll(c.r); len(raw) > 0 {
		t.Errorf("an answer to the rest of the body: %q", raw)
	}
}

func TestMalformedChunksReachNobody(t *testing.T) {
	seen := make(chan error, 1)
	b := withHandler(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		seen <- err
	})
	c := b.tunnel("allowed.test", "allowed.test")
	c.send("POST / HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nab\r\n0\r\n\r\n")
	refused(t, c.response("POST"), 400, reasonBody)
	select {
	case err := <-seen:
		if err == nil {
			t.Error("the origin read a complete body")
		}
	case <-time.After(time.Second): // the transport may not have sent anything at all
	}
}

func TestBytesUntouched(t *testing.T) {
	gz := "\x1f\x8b\x08 not really gzip"
	b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" || r.Header.Get("User-Agent") != "" {
			w.WriteHeader(http.StatusTeapot)
		}
		w.Header()["Date"] = nil
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Etag", `"x"`)
		_, _ = io.WriteString(w, gz)
	})
	c := b.tunnel("allowed.test", "allowed.test")
	c.send("GET / HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\nAccept-Encoding: gzip\r\n\r\n")
	resp := c.response("GET")
	body, err := io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode != 200 || string(body) != gz || resp.Header.Get("Content-Encoding") != "gzip" || resp.ContentLength != int64(len(gz)) {
		t.Errorf("%s %q %v", resp.Status, body, resp.Header)
	}
	if _, ok := resp.Header["Date"]; ok {
		t.Error("a Date was added")
	}
}

func TestUpstreamBreaksOff(t *testing.T) {
	b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sized" {
			w.Header().Set("Content-Length", "1000")
		}
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	for _, path := range []string{"/sized", "/chunked"} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s h2=%v", path, h2), func(t *testing.T) {
				resp, err := b.client(h2).Get(b.secureURL("allowed.test", path))
				check(t, err)
				defer resp.Body.Close()
				if raw, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("a clean end after %q", raw)
				}
				b.loggedReason(reasonUpstreamAbort)
			})
		}
		t.Run(path+" to HTTP/1.0", func(t *testing.T) {
			c := b.raw()
			at := hostPort(schemeHTTP, authority{Host: "allowed.test", Port: b.plainPort})
			c.send("GET http://" + at + path + " HTTP/1.0\r\nHost: " + at + "\r\n\r\n")
			if raw, err := io.ReadAll(c.r); err == nil {
				t.Errorf("a clean end after %q", raw)
			}
		})
	}
}

func TestClientLeaves(t *testing.T) {
	gone := make(chan struct{}, 8)
	b := withHandler(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		gone <- struct{}{}
	})
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%v", h2), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := b.client(h2).Do(get(t, b.secureURL("allowed.test", "/")).WithContext(ctx))
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("error = %v", err)
			}
			select {
			case <-gone:
			case <-time.After(testWait):
				t.Fatal("the upstream was not cancelled")
			}
		})
	}
	b.loggedReason(reasonClientGone)
}

func TestIdleExchangeEnds(t *testing.T) {
	b := newBed(t, func(_ *bed, c *bedConfig) {
		c.opts.Limits.Idle = 500 * time.Millisecond
		c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/begun" {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
			}
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
	})
	t.Run("before the answer", func(t *testing.T) {
		resp, err := b.client(false).Get(b.secureURL("allowed.test", "/"))
		check(t, err)
		defer resp.Body.Close()
		refused(t, resp, 504, reasonIdle)
	})
	t.Run("within the answer", func(t *testing.T) {
		resp, err := b.client(false).Get(b.secureURL("allowed.test", "/begun"))
		check(t, err)
		defer resp.Body.Close()
		if raw, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("a clean end after %s %q", resp.Status, raw)
		}
	})
	t.Run("within the request", func(t *testing.T) {
		c := b.tunnel("allowed.test", "allowed.test")
		c.send("POST / HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\nContent-Length: 1000\r\n\r\nabc")
		if _, err := io.ReadAll(c.r); err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				t.Error("the connection stayed open")
			}
		}
	})
	b.loggedReason(reasonIdle)
}
