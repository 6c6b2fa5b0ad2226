package provision

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/egress"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// liveProxy is the egress proxy of a launched bottle with an Internet of its own,
// where every name exists and every server answers.
type liveProxy struct {
	t     *testing.T
	addr  string
	trust *x509.CertPool
	conns map[string]*liveConn // to the proxy, by what they lead to
}

type liveConn struct {
	net.Conn
	r *bufio.Reader
}

// liveAnswer is what the proxy said of one request.
type liveAnswer struct {
	Layer   string `json:"layer"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Rule    string `json:"rule"`
	Ask     string `json:"how_to_ask"`
}

// anywhere is a public address that is never dialled.
type anywhere struct{}

func (anywhere) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.AddrFrom4([4]byte{93, 184, 216, 34})}, nil
}

// liveInternet dials origins in this process and returns the roots they are
// verified with.
func liveInternet(t *testing.T) (func(context.Context, string, string) (net.Conn, error), *x509.CertPool) {
	t.Helper()
	cert, key, err := ca.NewAuthority("origin", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	minter, err := ca.NewMinter(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	literal, err := minter.Leaf("10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	cfg := &tls.Config{GetCertificate: minter.GetCertificate, Certificates: []tls.Certificate{*literal}, MinVersion: tls.VersionTLS12}
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go originOf(far, cfg)
		return near, nil
	}, roots
}

// originOf answers every request on one connection, with TLS or without.
func originOf(c net.Conn, cfg *tls.Config) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	first, err := r.Peek(1)
	if err != nil {
		return
	}
	var w io.Writer = c
	if first[0] == 22 { // a TLS handshake
		secure := tls.Server(&liveConn{c, r}, cfg)
		w, r = secure, bufio.NewReader(secure)
	}
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		if _, err := io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

// Read implements io.Reader: what was read ahead comes first.
func (c *liveConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func serveLive(t *testing.T, cfg sidecars.Config, secrets sidecars.Secrets) *liveProxy {
	t.Helper()
	dial, roots := liveInternet(t)
	p, err := egress.New(cfg, secrets, egress.Options{
		Log: io.Discard, Resolver: anywhere{}, RootCAs: roots, Dial: dial, Interfaces: func() ([]net.Addr, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, l) }()
	live := &liveProxy{t: t, addr: l.Addr().String(), trust: x509.NewCertPool(), conns: map[string]*liveConn{}}
	live.trust.AppendCertsFromPEM([]byte(cfg.CACert))
	t.Cleanup(func() {
		for _, c := range live.conns {
			_ = c.Close()
		}
		p.Abort()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return live
}

// liveRequest is a request as a client writes it.
type liveRequest struct {
	scheme, method, host string
	port                 int
	target               string // path and query
	header               [][2]string
}

func (q liveRequest) url() string {
	return q.scheme + "://" + net.JoinHostPort(q.host, strconv.Itoa(q.port)) + q.target
}

// question is the same for Explain.
func (q liveRequest) question() ExplainRequest {
	h := http.Header{}
	for _, line := range q.header {
		h.Add(line[0], line[1])
	}
	return ExplainRequest{URL: q.url(), Method: q.method, Header: h}
}

// ask sends a request; nil = it was let through.
func (p *liveProxy) ask(q liveRequest) *liveAnswer {
	p.t.Helper()
	authority := net.JoinHostPort(q.host, strconv.Itoa(q.port))
	key, target := "plain", q.url()
	if q.scheme == "https" {
		key, target = authority, q.target
		if target == "" || target[0] == '?' {
			target = "/" + target
		}
	}
	c, refused := p.open(key, q.scheme == "https")
	if refused != nil {
		return refused
	}
	text := q.method + " " + target + " HTTP/1.1\r\nHost: " + authority + "\r\n"
	for _, line := range q.header {
		text += line[0] + ": " + line[1] + "\r\n"
	}
	if q.method == http.MethodPost || q.method == http.MethodPut {
		text += "Content-Length: 0\r\n"
	}
	answer, last, err := c.roundTrip(text+"\r\n", q.method)
	if err != nil {
		p.t.Fatalf("%s %s: %v", q.method, q.url(), err)
	}
	if last {
		_ = c.Close()
		delete(p.conns, key)
	}
	return answer
}

// open gives the connection for a key, which is made when there is none.
func (p *liveProxy) open(key string, secure bool) (*liveConn, *liveAnswer) {
	p.t.Helper()
	if c := p.conns[key]; c != nil {
		return c, nil
	}
	raw, err := net.DialTimeout("tcp", p.addr, 10*time.Second)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = raw.SetDeadline(time.Now().Add(2 * time.Minute))
	c := &liveConn{raw, bufio.NewReader(raw)}
	if secure {
		answer, _, err := c.roundTrip("CONNECT "+key+" HTTP/1.1\r\nHost: "+key+"\r\n\r\n", http.MethodConnect)
		if err != nil || answer != nil {
			_ = raw.Close()
			if err != nil {
				p.t.Fatalf("CONNECT %s: %v", key, err)
			}
			return nil, answer
		}
		host, _, _ := net.SplitHostPort(key)
		inside := tls.Client(c, &tls.Config{ServerName: host, RootCAs: p.trust, MinVersion: tls.VersionTLS12})
		if err := inside.Handshake(); errors.Is(err, io.EOF) {
			// What the tunnel is for was decided before this was known.
			return nil, &liveAnswer{Reason: policy.ReasonPortNotAllowed}
		} else if err != nil {
			p.t.Fatalf("TLS to %s: %v", key, err)
		}
		c = &liveConn{inside, bufio.NewReader(inside)}
	}
	p.conns[key] = c
	return c, nil
}

func (c *liveConn) roundTrip(text, method string) (*liveAnswer, bool, error) {
	if _, err := io.WriteString(c.Conn, text); err != nil {
		return nil, true, err
	}
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return nil, true, err
	}
	if method == http.MethodConnect && resp.StatusCode == http.StatusOK {
		return nil, false, nil
	}
	body, err := io.ReadAll(resp.Body)
	answer := liveAnswer{Reason: resp.Header.Get("X-Bottle-Refused")}
	switch {
	case err != nil || answer.Reason == "":
		return nil, resp.Close, err
	case method == http.MethodHead:
		return &answer, resp.Close, nil
	}
	return &answer, resp.Close, json.Unmarshal(body, &answer)
}
