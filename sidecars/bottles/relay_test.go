package bottles

import (
	"context"
	"encoding/json"
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
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

func TestNewRefuses(t *testing.T) {
	dial := func(context.Context) (net.Conn, error) { return nil, errors.New("not in this test") }
	good := sidecars.Secrets{BottlesToken: secret.New("token")}
	tests := []struct {
		name    string
		bottle  string
		secrets sidecars.Secrets
		dial    func(context.Context) (net.Conn, error)
		want    string
	}{
		{"good", "b", good, dial, ""},
		{"no bottle", "", good, dial, "names no bottle"},
		{"no token", "b", sidecars.Secrets{}, dial, "no token"},
		{"no way", "b", good, nil, "no way"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(sidecars.Config{Bottle: tt.bottle}, tt.secrets, Options{Dial: tt.dial})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q", err, tt.want)
			}
		})
	}
}

// TestPasses has what a guest sends arrive, with the bottle's own token and
// nothing of the guest's identity.
func TestPasses(t *testing.T) {
	b := newBed(t, Limits{})
	b.respond(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Mcp-Session-Id", "session-1")
		h.Set("Set-Cookie", "a=b")
		h.Set("Server", "host")
		_, _ = io.WriteString(w, `{"result":1}`)
	})
	status, header, body := b.post(t, `{"id":1}`,
		"Authorization", "Bearer of-the-guest", "Mcp-Session-Id", "s", "Mcp-Protocol-Version", "2025-06-18",
		"Accept", "application/json, text/event-stream", "Cookie", "a=b", "X-Forwarded-For", "127.0.0.1",
		"Forwarded", "for=1", "X-Real-Ip", "127.0.0.1", "Proxy-Authorization", "Basic x", "Connection", "keep-alive, Mcp-Session-Id",
		"User-Agent", "guest")
	if status != 200 || body != `{"result":1}` || header.Get("Mcp-Session-Id") != "session-1" {
		t.Errorf("answer %d %v %q", status, header, body)
	}
	for _, name := range []string{"Set-Cookie", "Server", "Authorization"} {
		if header.Get(name) != "" {
			t.Errorf("the guest is given %s: %q", name, header.Get(name))
		}
	}
	all := b.requests()
	if len(all) != 1 {
		t.Fatalf("the host saw %d requests", len(all))
	}
	got := all[0]
	if got.method != "POST" || got.target != "/mcp" || got.host != sidecars.BottlesHost || got.body != `{"id":1}` {
		t.Errorf("the host saw %+v", got)
	}
	if a := got.header["Authorization"]; len(a) != 1 || a[0] != "Bearer "+b.token {
		t.Errorf("the host was sent Authorization %q", a)
	}
	allowed := map[string]bool{"Authorization": true, "User-Agent": true, "Content-Length": true, "Connection": true}
	for _, name := range requestHeaders {
		allowed[name] = true
	}
	for name, values := range got.header {
		if !allowed[name] || strings.Contains(strings.Join(values, " "), "guest") {
			t.Errorf("the host was sent %s: %q", name, values)
		}
	}
}

func TestMethods(t *testing.T) {
	b := newBed(t, Limits{})
	for _, method := range []string{"GET", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "QUERY"} {
		t.Run(method, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), method, b.url, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			status, header, _ := send(t, req)
			passes := method == "GET" || method == "DELETE"
			if n := len(b.requests()); passes && (status != 200 || n != 1) || !passes && (status != 405 || n != 0 || header.Get("Allow") != "GET, POST, DELETE") {
				t.Errorf("status %d, Allow %q, %d requests reached the host", status, header.Get("Allow"), n)
			}
		})
	}
}

// TestStreams has each event arrive before the next is sent.
func TestStreams(t *testing.T) {
	b := newBed(t, Limits{})
	next := make(chan struct{})
	b.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Timeout: testWait}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i := range 3 {
		buf := make([]byte, len("data: 0\n\n"))
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != fmt.Sprintf("data: %d\n\n", i) {
			t.Fatalf("event %d: %q, %v", i, buf, err)
		}
		next <- struct{}{}
	}
}

// TestClientLeaves has the host's call cancelled with the guest's request.
func TestClientLeaves(t *testing.T) {
	b := newBed(t, Limits{})
	begun, cancelled := make(chan struct{}), make(chan struct{})
	b.respond(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(cancelled)
	})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if resp, err := (&http.Client{}).Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	<-begun
	cancel()
	select {
	case <-cancelled:
	case <-time.After(testWait):
		t.Fatal("the call on the host goes on without its client")
	}
}

// TestHostGone has the guest told what to do, and served again when the server
// is back.
func TestHostGone(t *testing.T) {
	h := &host{socket: t.TempDir() + "/mcp.sock", token: "the-token"}
	b := serve(t, h, Limits{})
	ask := func(want int, reason string) string {
		t.Helper()
		status, _, body := b.post(t, "{}")
		var got answer
		if err := json.Unmarshal([]byte(body), &got); status != want || want != 200 && (err != nil || got.Error.Data.Reason != reason || got.Version != "2.0") {
			t.Errorf("status %d, body %s, want %d %s", status, body, want, reason)
		}
		if strings.Contains(body, h.token) || strings.Contains(body, h.socket) {
			t.Errorf("the answer tells of the host: %s", body)
		}
		return got.Error.Message
	}
	if text := ask(503, "server_not_running"); !strings.Contains(text, "bottle-mcp serve") {
		t.Errorf("it does not say what to do: %q", text)
	}
	stop := h.listen(t)
	ask(200, "")
	stop()
	ask(503, "server_not_running")
	h.respond(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	h.listen(t)
	ask(502, "token_refused")
	// A relay of the engine takes connections also when nobody is behind it.
	h.respond(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	ask(503, "server_not_running")
	h.respond(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "SSH-2.0-x\r\n")
		_ = conn.Close()
	})
	ask(502, "server_failed")
}

// TestBrokenAnswer has an answer that broke off not look whole.
func TestBrokenAnswer(t *testing.T) {
	b := newBed(t, Limits{})
	b.respond(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	resp, err := (&http.Client{Timeout: testWait}).Post(b.url, "application/json", strings.NewReader("{}"))
	if err == nil {
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("half an answer ends like a whole one")
	}
}

func TestHealth(t *testing.T) {
	b := newBed(t, Limits{})
	b.respond(func(http.ResponseWriter, *http.Request) { t.Error("the host is asked") })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.addr+"/healthz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, body := send(t, req); status != 200 || body != "ok fizzy-otter\n" {
		t.Errorf("%d %q", status, body)
	}
}

func TestLimits(t *testing.T) {
	t.Run("body", func(t *testing.T) {
		b := newBed(t, Limits{BodyBytes: 100})
		if status, _, _ := b.post(t, strings.Repeat("x", 100)); status != 200 {
			t.Errorf("the largest body: %d", status)
		}
		if status, _, _ := b.post(t, strings.Repeat("x", 101)); status != 413 {
			t.Errorf("a larger body: %d", status)
		}
		if n := len(b.requests()); n != 1 {
			t.Errorf("%d requests reached the host", n)
		}
	})
	t.Run("slow body", func(t *testing.T) {
		b := newBed(t, Limits{Body: 100 * time.Millisecond})
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, rawBody("Content-Length: 10\r\n", "123"))
		_ = conn.SetReadDeadline(time.Now().Add(testWait))
		head, err := io.ReadAll(conn)
		if err != nil || !strings.Contains(string(head), "408") {
			t.Errorf("%q, %v", head, err)
		}
		if n := len(b.requests()); n != 0 {
			t.Errorf("%d requests reached the host", n)
		}
	})
	t.Run("slow head", func(t *testing.T) {
		b := newBed(t, Limits{Head: 100 * time.Millisecond})
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "POST /mcp HTTP/1.1\r\nHost:")
		_ = conn.SetReadDeadline(time.Now().Add(testWait))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("the connection stays: %v", err)
		}
	})
	t.Run("head", func(t *testing.T) {
		b := newBed(t, Limits{HeadBytes: 1 << 10})
		if status := b.raw(t, rawBody("Accept: "+strings.Repeat("x", 16<<10)+"\r\nContent-Length: 2\r\n", "{}")); status != 431 {
			t.Errorf("a large head: %d", status)
		}
	})
	t.Run("requests", func(t *testing.T) {
		b := newBed(t, Limits{Requests: 2})
		release, atWork := make(chan struct{}), make(chan struct{}, 8)
		b.respond(func(http.ResponseWriter, *http.Request) { atWork <- struct{}{}; <-release })
		done := make(chan int, 2)
		for range 2 {
			go func() { status, _, _ := b.post(t, "{}"); done <- status }()
			<-atWork
		}
		if status, header, body := b.post(t, "{}"); status != 503 || header.Get("Retry-After") != "1" || !strings.Contains(body, "too_many_requests") {
			t.Errorf("one more: %d %q", status, body)
		}
		close(release)
		if x, y := <-done, <-done; x != 200 || y != 200 {
			t.Errorf("those at work: %d, %d", x, y)
		}
		if status, _, _ := b.post(t, "{}"); status != 200 {
			t.Errorf("after them: %d", status)
		}
	})
}

// TestConnections has one connection too many closed, and the others served.
func TestConnections(t *testing.T) {
	b := newBed(t, Limits{Connections: 2})
	var held []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		// One byte: it counts as accepted when it has been read.
		_, _ = io.WriteString(conn, "P")
		held = append(held, conn)
	}
	time.Sleep(50 * time.Millisecond)
	if status := b.raw(t, rawBody("Content-Length: 2\r\n", "{}")); status != 0 {
		t.Errorf("a third connection is served: %d", status)
	}
	_ = held[0].Close()
	for end := time.Now().Add(testWait); ; time.Sleep(10 * time.Millisecond) {
		if b.raw(t, rawBody("Content-Length: 2\r\n", "{}")) == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a connection that ended gives nothing back")
		}
	}
}

func TestStop(t *testing.T) {
	b := newBed(t, Limits{Stop: 50 * time.Millisecond})
	var cancelled atomic.Bool
	begun := make(chan struct{})
	b.respond(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		cancelled.Store(true)
	})
	go func() {
		if resp, err := (&http.Client{}).Post(b.url, "application/json", strings.NewReader("{}")); err == nil {
			resp.Body.Close()
		}
	}()
	<-begun
	b.stop()
	select {
	case err := <-b.ended:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
		b.ended <- nil // for the cleanup
	case <-time.After(testWait):
		t.Fatal("Serve does not end")
	}
	if err := b.relay.Serve(t.Context(), nil); err == nil {
		t.Error("it serves twice")
	}
}
