package provisiontest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Prefixes of the paths that the matrix's bottle may and may not ask for.
const (
	openPrefix   = "/open"
	closedPrefix = "/closed"
)

// ackTime is how long the origin waits for the guest's word that the first
// event has come. Whoever holds events back runs into it.
const ackTime = 30 * time.Second

// visit is a request as it arrived at the matrix's origin.
type visit struct {
	Request

	Method string
	Bytes  int64
	SHA256 string
	// Left says that the client went away before the answer's end.
	Left bool
}

// matrixOrigin answers the cells of the matrix: /open/CLIENT/CELL.
type matrixOrigin struct {
	packages http.Handler
	download int64 // bytes

	mu     sync.Mutex
	visits []visit
	acks   map[string]chan struct{}
}

func newMatrixOrigin(t *testing.T, download int64) *matrixOrigin {
	t.Helper()
	return &matrixOrigin{
		packages: packages(t, originSite(t)), download: download, acks: map[string]chan struct{}{},
	}
}

func (o *matrixOrigin) add(v visit) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.visits = append(o.visits, v)
}

// under are the visits to a path and to all below it.
func (o *matrixOrigin) under(path string) []visit {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []visit
	for _, v := range o.visits {
		if v.Path == path || strings.HasPrefix(v.Path, path+"/") {
			out = append(out, v)
		}
	}
	return out
}

// ack is closed when the guest has said that it saw the first event.
func (o *matrixOrigin) ack(path string) chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.acks[path] == nil {
		o.acks[path] = make(chan struct{})
	}
	return o.acks[path]
}

// ServeHTTP implements http.Handler.
func (o *matrixOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := visit{Request: Request{Path: r.URL.Path, Header: r.Header.Clone()}, Method: r.Method}
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, openPrefix+"/"), "/", 2)
	if len(parts) != 2 {
		o.add(v)
		http.NotFound(w, r)
		return
	}
	switch cell := parts[1]; cell {
	case "download":
		o.add(v)
		w.Header().Set("Content-Length", strconv.FormatInt(o.download, 10))
		_, _ = io.CopyN(w, pattern{}, o.download)
	case "cancel":
		// An answer without end: only leaving ends it.
		for err := error(nil); err == nil && r.Context().Err() == nil; {
			_, err = io.CopyN(w, pattern{}, 64<<10)
		}
		v.Left = true
		o.add(v)
	case "sse":
		o.add(v)
		o.events(w, r)
	case "sse-ack":
		o.add(v)
		close(o.ack(strings.TrimSuffix(r.URL.Path, "-ack")))
	case "ws", "ws-secret":
		v.Bytes = echo(w, r)
		o.add(v)
	case "trailers":
		o.add(v)
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = io.WriteString(w, "a message")
		w.Header().Set("Grpc-Status", "7")
	default:
		if strings.Contains(cell, ".") || strings.Contains(cell, "/") || strings.HasPrefix(cell, "left") {
			o.add(v)
			http.StripPrefix(openPrefix, o.packages).ServeHTTP(w, r)
			return
		}
		sum := sha256.New()
		v.Bytes, _ = io.Copy(sum, r.Body)
		v.SHA256 = hex.EncodeToString(sum.Sum(nil))
		o.add(v)
		_, _ = io.WriteString(w, "origin answers\n")
	}
}

// events sends one event, and the second only when the first has been seen.
func (o *matrixOrigin) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "data: one\n\n")
	_ = http.NewResponseController(w).Flush()
	select {
	case <-o.ack(r.URL.Path):
		_, _ = io.WriteString(w, "data: two\n\n")
	case <-r.Context().Done():
	case <-time.After(ackTime):
		_, _ = io.WriteString(w, "data: held-back\n\n")
	}
}

// echo sends one WebSocket message back, and returns how many bytes it had.
func echo(w http.ResponseWriter, r *http.Request) int64 {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return 0
	}
	defer func() { _ = c.CloseNow() }()
	ctx, cancel := context.WithTimeout(r.Context(), ackTime)
	defer cancel()
	kind, data, err := c.Read(ctx)
	if err == nil && c.Write(ctx, kind, data) == nil {
		_ = c.Close(websocket.StatusNormalClosure, "")
	}
	return int64(len(data))
}

// pattern is text without end that holds nothing a scanner looks for.
type pattern struct{}

// Read implements io.Reader.
func (pattern) Read(p []byte) (int, error) {
	const line = "the same line of plain words again\n"
	for n := 0; n < len(p); {
		n += copy(p[n:], line)
	}
	return len(p), nil
}

// body is n bytes of pattern.
func body(t *testing.T, n int64) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := io.CopyN(&b, pattern{}, n); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
