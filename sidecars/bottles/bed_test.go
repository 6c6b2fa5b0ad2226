package bottles

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const testWait = 10 * time.Second

// seen is a request as the host's server got it.
type seen struct {
	method, host, target, body string
	header                     http.Header
}

// host is the MCP server on the host's side of the socket.
type host struct {
	socket string
	token  string

	mu     sync.Mutex
	seen   []seen
	answer http.HandlerFunc // nil = 200 "{}"
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{socket: filepath.Join(t.TempDir(), "mcp.sock"), token: rand.Text()}
	h.listen(t)
	return h
}

// listen serves the socket until the test ends or stop is called.
func (h *host) listen(t testing.TB) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(l) }()
	stop = func() { _ = srv.Close() }
	t.Cleanup(stop)
	return stop
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	h.seen = append(h.seen, seen{r.Method, r.Host, r.RequestURI, string(body), r.Header.Clone()})
	answer := h.answer
	h.mu.Unlock()
	if answer == nil {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
		return
	}
	answer(w, r)
}

func (h *host) respond(f http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = f
}

// requests are those since the last call.
func (h *host) requests() []seen {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.seen
	h.seen = nil
	return out
}

func (h *host) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", h.socket)
}

// bed is a relay that serves on loopback, in front of a host.
type bed struct {
	*host

	relay *Relay
	addr  string
	url   string
	stop  context.CancelFunc
	ended chan error
}

func newBed(t testing.TB, limits Limits) *bed {
	t.Helper()
	return serve(t, newHost(t), limits)
}

func serve(t testing.TB, h *host, limits Limits) *bed {
	t.Helper()
	r, err := New(sidecars.Config{Bottle: "fizzy-otter"}, sidecars.Secrets{BottlesToken: secret.New(h.token)}, Options{Dial: h.dial, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &bed{host: h, relay: r, addr: l.Addr().String(), stop: cancel, ended: make(chan error, 1)}
	b.url = "http://" + b.addr + sidecars.BottlesPath
	go func() { b.ended <- r.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-b.ended:
		case <-time.After(testWait):
			t.Error("Serve does not end")
		}
	})
	return b
}

// post sends a message as an MCP client does.
func (b *bed) post(t testing.TB, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return send(t, req)
}

func send(t testing.TB, req *http.Request) (int, http.Header, string) {
	t.Helper()
	client := &http.Client{Timeout: testWait, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// raw sends bytes and returns the status of the first answer, 0 when there is
// none.
func (b *bed) raw(t testing.TB, request string) int { return b.rawAll(t, request, 1)[0] }

// rawAll is raw for n answers.
func (b *bed) rawAll(t testing.TB, request string, n int) []int {
	t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testWait))
	// Not half closed: net/http takes that for a client that left.
	_, _ = io.WriteString(conn, request)
	from := bufio.NewReader(conn)
	out := make([]int, n)
	for i := range out {
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			return out
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		out[i] = resp.StatusCode
	}
	return out
}

// rawBody is a POST with what a test has to say of its body.
func rawBody(head, body string) string {
	var b bytes.Buffer
	b.WriteString("POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + head + "\r\n" + body)
	return b.String()
}
