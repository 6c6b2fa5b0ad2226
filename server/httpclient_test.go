package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const testToken = "test-token-0123456789abcdef"

// web is a served fixture.
type web struct {
	url  string
	addr string
	stop context.CancelFunc
	done chan error
	http *http.Client
}

func serveHTTP(t *testing.T, f *fixture, cfg HTTPConfig) *web {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 50 * time.Millisecond
	}
	cfg.Listener, cfg.Token = listener, secret.New(testToken)
	ctx, stop := context.WithCancel(context.Background())
	transport := &http.Transport{MaxIdleConnsPerHost: 200}
	w := &web{
		addr: listener.Addr().String(), stop: stop, done: make(chan error, 1),
		http: &http.Client{Transport: transport, Timeout: 2 * patience},
	}
	w.url = "http://" + w.addr + Endpoint
	go func() { w.done <- f.ServeHTTP(ctx, cfg) }()
	t.Cleanup(func() {
		stop()
		transport.CloseIdleConnections()
	})
	return w
}

func (w *web) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.done:
		return err
	case <-time.After(patience):
		t.Fatal("ServeHTTP did not return")
		return nil
	}
}

// request is a POST that passes every check; change mutates it before it goes.
func (w *web) request(t *testing.T, body string, change func(*http.Request)) *http.Response {
	t.Helper()
	response, err := w.try(body, change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func (w *web) try(body string, change func(*http.Request)) (*http.Response, error) {
	r, err := http.NewRequest(http.MethodPost, w.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+testToken)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if change != nil {
		change(r)
	}
	return w.http.Do(r)
}

func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// httpClient is a client with a session.
type httpClient struct {
	web     *web
	session string
	frames  *inbox
	posts   sync.WaitGroup
}

func (w *web) connect(t *testing.T) *httpClient {
	t.Helper()
	r := w.request(t, initializeText, nil)
	c := &httpClient{web: w, session: r.Header.Get(headerSession), frames: newInbox()}
	if r.StatusCode != http.StatusOK || c.session == "" {
		t.Fatalf("initialize: %s, session %q: %s", r.Status, c.session, bodyOf(t, r))
	}
	c.frames.add(bodyOf(t, r))
	return c
}

func (c *httpClient) box() *inbox { return c.frames }

func (c *httpClient) inSession(r *http.Request) {
	r.Header.Set(headerSession, c.session)
	r.Header.Set(headerVersion, "2025-11-25")
}

// send posts in the background and files what comes back.
func (c *httpClient) send(raw string) {
	c.posts.Go(func() {
		response, err := c.web.try(raw, c.inSession)
		if err != nil {
			return // what is awaited tells
		}
		defer response.Body.Close()
		if !strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
			if body, _ := io.ReadAll(response.Body); len(body) > 0 {
				c.frames.add(string(body))
			}
			return
		}
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				c.frames.add(data)
			}
		}
	})
}
