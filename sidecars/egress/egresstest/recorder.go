package egresstest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
)

// drainTime bounds how long a server listens after its answer.
const drainTime = 2 * time.Second

// bodyTime bounds how long a server waits for a body before it answers.
const bodyTime = 500 * time.Millisecond

// Recording is what a server got.
type Recording struct {
	Connections int
	// Bytes are those of all connections, with TLS taken off.
	Bytes []byte
}

// Recorder is a server that takes TLS and plain HTTP at one port, answers every
// request politely, and keeps every byte.
type Recorder struct {
	minter, stranger *ca.Minter

	mu  sync.Mutex
	got Recording
}

// NewRecorder has its certificates from an authority that sidecars trust, and
// those of BadCertificate from one that they do not.
func NewRecorder(trusted, stranger *ca.Minter) *Recorder {
	return &Recorder{minter: trusted, stranger: stranger}
}

// Got is what came since the last Forget.
func (r *Recorder) Got() Recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Recording{r.got.Connections, bytes.Clone(r.got.Bytes)}
}

// Forget begins anew.
func (r *Recorder) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = Recording{}
}

func (r *Recorder) note(connections int, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got.Connections += connections
	r.got.Bytes = append(r.got.Bytes, b...)
}

// Serve serves until the listener is closed.
func (r *Recorder) Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		r.note(1, nil)
		go r.serve(conn)
	}
}

func (r *Recorder) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(carryTime))
	raw := bufio.NewReader(conn)
	first, err := raw.Peek(1)
	if err != nil {
		return
	}
	link := net.Conn(&buffered{conn, raw})
	in := bufio.NewReader(io.TeeReader(raw, recording{r}))
	if first[0] == 22 {
		var greeting bytes.Buffer
		secure := tls.Server(&buffered{conn, io.TeeReader(raw, &greeting)}, r.config())
		ctx, cancel := context.WithTimeout(context.Background(), carryTime)
		defer cancel()
		if secure.HandshakeContext(ctx) != nil {
			r.note(0, greeting.Bytes())
			return
		}
		link, in = secure, bufio.NewReader(io.TeeReader(secure, recording{r}))
	}
	r.answer(link, in)
	_ = conn.SetDeadline(time.Now().Add(drainTime))
	if half, ok := link.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, in)
}

func (r *Recorder) config() *tls.Config {
	return &tls.Config{ //nolint:gosec // an old version is what the proxy is to refuse
		MinVersion: tls.VersionTLS10,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c := &tls.Config{MinVersion: tls.VersionTLS10} //nolint:gosec // see above
			if hello.ServerName == OldTLS {
				c.MaxVersion = tls.VersionTLS11
			}
			minter, name := r.minter, hello.ServerName
			if name == BadCertificate {
				minter = r.stranger
			}
			if name == "" {
				name = Allowed
			}
			leaf, err := minter.Leaf(name)
			if err == nil {
				c.Certificates = []tls.Certificate{*leaf}
			}
			return c, err
		},
	}
}

// answer answers one request and closes: what comes behind it is recorded.
func (r *Recorder) answer(w net.Conn, in *bufio.Reader) {
	req, err := http.ReadRequest(in)
	if err != nil {
		_, _ = io.WriteString(w, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	// A body that is cut somewhere else than it says may have no end.
	_ = w.SetReadDeadline(time.Now().Add(bodyTime))
	_, _ = io.Copy(io.Discard, req.Body)
	credential := req.Header.Get("Authorization")
	credential = credential[strings.LastIndexByte(credential, ' ')+1:]
	head, body := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n", "fine"
	switch {
	case strings.HasSuffix(req.URL.Path, "/socket"):
		head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		body = ""
	case strings.HasPrefix(req.URL.Path, "/ok/redirect/"):
		head = "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: https://" + strings.TrimPrefix(req.URL.Path, "/ok/redirect/") + "/\r\n"
	case strings.HasSuffix(req.URL.Path, "/echo/header"):
		head += "X-Echo: " + credential + "\r\n"
	case strings.HasSuffix(req.URL.Path, "/echo/error"):
		head, body = strings.Replace(head, "200 OK", "500 Oops", 1), "bad token "+credential
	case strings.HasSuffix(req.URL.Path, "/echo/base64"):
		body = "it is " + base64.StdEncoding.EncodeToString([]byte(credential))
	case strings.HasSuffix(req.URL.Path, "/echo/hex"):
		body = "it is " + hex.EncodeToString([]byte(credential))
	case strings.HasSuffix(req.URL.Path, "/echo/raw"), strings.HasSuffix(req.URL.Path, "/echo/split"):
		body = "it is " + credential
	}
	_, _ = io.WriteString(w, head+"\r\n")
	for step := max(len(body), 1); len(body) > 0; {
		if strings.HasSuffix(req.URL.Path, "/echo/split") {
			step = 3
		}
		n := min(step, len(body))
		if _, err := io.WriteString(w, body[:n]); err != nil {
			return
		}
		body = body[n:]
	}
}

// recording keeps what is read.
type recording struct{ r *Recorder }

func (w recording) Write(p []byte) (int, error) {
	w.r.note(0, p)
	return len(p), nil
}

// Listen listens at two addresses on one port.
func Listen(ctx context.Context, first, second string) (a, b net.Listener, err error) {
	var lc net.ListenConfig
	for range 20 {
		a, err = lc.Listen(ctx, "tcp", net.JoinHostPort(first, "0"))
		if err != nil {
			return nil, nil, err
		}
		_, port, _ := net.SplitHostPort(a.Addr().String())
		b, err = lc.Listen(ctx, "tcp", net.JoinHostPort(second, port))
		if err == nil {
			return a, b, nil
		}
		_ = a.Close()
	}
	return nil, nil, err
}
