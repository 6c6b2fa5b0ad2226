package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const (
	testToken = "s3cr3t-t0ken-of-the-operator"
	testWait  = 30 * time.Second
	// testPlaceholder stands for it in the guest.
	testPlaceholder = "placeholder-of-the-guest"
)

// names resolves from a table; a name may answer differently each time.
type names struct {
	mu    sync.Mutex
	table map[string][][]netip.Addr
	asked []string
}

func (n *names) set(host string, answers ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.table[host] = nil
	for _, answer := range answers {
		var addrs []netip.Addr
		for a := range strings.FieldsSeq(answer) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		n.table[host] = append(n.table[host], addrs)
	}
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, host)
	answers := n.table[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(answers) > 1 {
		n.table[host] = answers[1:]
	}
	return append([]netip.Addr(nil), answers[0]...), nil
}

// bed is a proxy with an origin behind it and the keys to both.
type bed struct {
	t         testing.TB
	proxy     *Proxy
	addr      string // of the proxy
	names     *names
	log       *logBuffer
	authority *x509.CertPool // trusts the bottle's CA
	secure    *httptest.Server
	plain     *httptest.Server
	securePort,
	plainPort int
	stop func()
	cfg  sidecars.Config // in force

	mu   sync.Mutex
	last seen // what arrived last
	// what the proxy looks for beside its tokens
	known, canaries []sidecars.Named
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// bedConfig adjusts a bed before it starts.
type bedConfig struct {
	routes  []sidecars.Route
	opts    Options
	handler http.Handler
}

func newBed(t testing.TB, adjust func(b *bed, c *bedConfig)) *bed {
	t.Helper()
	b := &bed{t: t, names: &names{table: map[string][][]netip.Addr{}}, log: &logBuffer{}}
	c := &bedConfig{handler: http.HandlerFunc(echo)}
	originCA, originKey, err := ca.NewAuthority("origin", time.Now().Add(time.Hour))
	check(t, err)
	minter, err := ca.NewMinter(originCA, originKey)
	check(t, err)
	lazy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.last = seen{Method: r.Method, Host: r.Host, URI: r.RequestURI, Header: r.Header.Clone(), Proto: r.Proto}
		b.mu.Unlock()
		c.handler.ServeHTTP(w, r)
	})
	b.secure = httptest.NewUnstartedServer(lazy)
	b.secure.EnableHTTP2 = true
	byAddress, err := minter.Leaf("127.0.0.1")
	check(t, err)
	b.secure.TLS = &tls.Config{GetCertificate: minter.GetCertificate, Certificates: []tls.Certificate{*byAddress}}
	b.secure.Config.ErrorLog = discardLog()
	b.secure.StartTLS()
	b.plain = httptest.NewUnstartedServer(lazy)
	b.plain.Config.ErrorLog = discardLog()
	b.plain.Start()
	b.securePort, b.plainPort = portOf(b.secure.Listener), portOf(b.plain.Listener)
	for _, host := range []string{"allowed.test", "auth.test", "x.wild.test", "other.test"} {
		b.names.set(host, "127.0.0.1")
	}
	local := []string{"127.0.0.0/8"}
	ports := []int{b.securePort, b.plainPort}
	c.routes = []sidecars.Route{
		{Host: "allowed.test", Ports: ports, Private: local},
		{Host: "other.test", Ports: ports, Private: local},
		{Host: "*.wild.test", Ports: ports, Private: local},
		{Host: "auth.test", Ports: ports, Private: local, Auth: &sidecars.Auth{Scheme: "Bearer", Slot: "T0"}},
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(originCA)
	c.opts = Options{Log: b.log, Resolver: b.names, RootCAs: roots}
	if adjust != nil {
		adjust(b, c)
	}
	b.start(c)
	return b
}

func (b *bed) start(c *bedConfig) {
	b.t.Helper()
	certPEM, key, err := ca.NewAuthority("otter", time.Now().Add(time.Hour))
	check(b.t, err)
	b.authority = x509.NewCertPool()
	b.authority.AppendCertsFromPEM(certPEM)
	cfg := sidecars.Config{Bottle: "otter", Routes: c.routes, CACert: string(certPEM), Placeholders: []string{testPlaceholder}}
	secrets := sidecars.Secrets{CAKey: key, Tokens: map[string]secret.Value{"T0": secret.New(testToken)}, Known: b.known, Canaries: b.canaries}
	b.cfg = cfg
	b.proxy, err = New(cfg, secrets, c.opts)
	check(b.t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(b.t, err)
	b.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.proxy.Serve(ctx, l) }()
	var once sync.Once
	b.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-served; err != nil {
				b.t.Errorf("Serve: %v", err)
			}
			b.secure.CloseClientConnections()
			b.secure.Close()
			b.plain.CloseClientConnections()
			b.plain.Close()
		})
	}
	b.t.Cleanup(b.stop)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// echo answers with what the origin saw.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Alt-Svc", `h3=":443"`)
	w.Header().Set(headerRefused, "spoofed")
	_ = json.NewEncoder(w).Encode(seen{Method: r.Method, Host: r.Host, URI: r.RequestURI, Header: r.Header, Body: string(body),
		Trailer: r.Trailer, Proto: r.Proto})
}

// seen is what an origin received.
type seen struct {
	Method, Host, URI, Body, Proto string
	Header, Trailer                http.Header
}

// arrived is the head of the request that reached the origin last. What a proxy
// puts on requests cannot be seen in answers: it takes it out.
func (b *bed) arrived() seen {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// client returns an HTTP client that uses the proxy and trusts the bottle's CA.
func (b *bed) client(h2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	tr := &http.Transport{
		Proxy:                 http.ProxyURL(&url.URL{Scheme: "http", Host: b.addr}),
		TLSClientConfig:       &tls.Config{RootCAs: b.authority},
		Protocols:             protocols,
		DisableCompression:    true,
		ExpectContinueTimeout: testWait,
	}
	b.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: testWait}
}

func (b *bed) secureURL(host, path string) string {
	return "https://" + hostPort(schemeHTTPS, authority{Host: host, Port: b.securePort}) + path
}

func (b *bed) plainURL(host, path string) string {
	return "http://" + hostPort(schemeHTTP, authority{Host: host, Port: b.plainPort}) + path
}

// raw opens a plain connection to the proxy.
func (b *bed) raw() *rawConn {
	b.t.Helper()
	c, err := net.Dial("tcp", b.addr)
	check(b.t, err)
	check(b.t, c.SetDeadline(time.Now().Add(testWait)))
	b.t.Cleanup(func() { _ = c.Close() })
	return &rawConn{t: b.t, Conn: c, r: bufio.NewReader(c)}
}

// tunnel opens a CONNECT tunnel to host and finishes TLS in it with sni.
func (b *bed) tunnel(host, sni string) *rawConn {
	b.t.Helper()
	c := b.raw()
	target := hostPort(schemeHTTPS, authority{Host: host, Port: b.securePort})
	c.send("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n")
	resp := c.response("CONNECT")
	if resp.StatusCode != 200 {
		b.t.Fatalf("CONNECT %s: %s", target, resp.Status)
	}
	secure := tls.Client(c.Conn, &tls.Config{RootCAs: b.authority, ServerName: sni, NextProtos: []string{protoH1}})
	check(b.t, secure.Handshake())
	return &rawConn{t: b.t, Conn: secure, r: bufio.NewReader(secure)}
}

type rawConn struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (c *rawConn) send(s string) {
	c.t.Helper()
	_, err := io.WriteString(c.Conn, s)
	check(c.t, err)
}

// response reads one response with its whole body; the body can be read again.
func (c *rawConn) response(method string) *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	check(c.t, err)
	if method == "CONNECT" && resp.StatusCode == 200 {
		return resp
	}
	body, err := io.ReadAll(resp.Body)
	check(c.t, err)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}

// refused demands a refusal with the given status and reason.
func refused(t testing.TB, resp *http.Response, status int, reason string) refusalBody {
	t.Helper()
	var got refusalBody
	raw, err := io.ReadAll(resp.Body)
	check(t, err)
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("status %d, body is no refusal: %v\n%s", resp.StatusCode, err, raw)
	}
	if resp.StatusCode != status || got.Reason != reason || resp.Header.Get(headerRefused) != reason {
		t.Fatalf("got %d %s (header %q), want %d %s\n%s", resp.StatusCode, got.Reason, resp.Header.Get(headerRefused), status, reason, raw)
	}
	if got.Error != "egress_refused" || got.Layer == "" || got.Message == "" || got.Ask == "" {
		t.Errorf("refusal is incomplete: %s", raw)
	}
	return got
}

// decisions returns the log so far, parsed strictly.
func (b *bed) decisions() []sidecars.Decision {
	b.t.Helper()
	var out []sidecars.Decision
	for line := range strings.Lines(b.log.String()) {
		e, err := ledger.Decode([]byte(line))
		check(b.t, err)
		if e.Type == ledger.TypeDecision {
			out = append(out, e.Decision)
		}
	}
	return out
}

// logged waits for a decision that matches.
func (b *bed) logged(what string, match func(sidecars.Decision) bool) sidecars.Decision {
	b.t.Helper()
	for end := time.Now().Add(testWait); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, d := range b.decisions() {
			if match(d) {
				return d
			}
		}
	}
	b.t.Fatalf("no log line for %s in:\n%s", what, b.log.String())
	return sidecars.Decision{}
}

func (b *bed) loggedReason(reason string) sidecars.Decision {
	b.t.Helper()
	return b.logged(reason, func(d sidecars.Decision) bool { return d.Reason == reason })
}

// settle waits until no more goroutines run than at the baseline, with a
// little slack for the test servers' own.
func settle(t testing.TB, baseline int) {
	t.Helper()
	const slack = 10
	var n int
	for end := time.Now().Add(testWait); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if n = runtime.NumGoroutine(); n <= baseline+slack {
			return
		}
	}
	stacks := make([]byte, 1<<20)
	t.Fatalf("%d goroutines, %d before:\n%s", n, baseline, stacks[:runtime.Stack(stacks, true)])
}
