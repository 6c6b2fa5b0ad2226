package egress

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func (b *bed) target(host string) string {
	return hostPort(schemeHTTPS, authority{Host: host, Port: b.securePort})
}

// One name per request: every way to name a second one is refused and logged.
func TestNamesInTunnel(t *testing.T) {
	b := newBed(t, nil)
	at, other := b.target("allowed.test"), b.target("other.test")
	port := strconv.Itoa(b.securePort)
	tests := []struct {
		name, request string
		status        int
		reason        string // "" passes
	}{
		{"same Host", "GET / HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 200, ""},
		{"case and trailing dot", "GET / HTTP/1.1\r\nHost: ALLOWED.test.:" + port + "\r\n\r\n", 200, ""},
		{"absolute URI", "GET https://" + at + "/x HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 200, ""},
		{"other allowed Host", "GET / HTTP/1.1\r\nHost: " + other + "\r\n\r\n", 421, reasonHostMismatch},
		{"other Host", "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", 421, reasonHostMismatch},
		{"other port", "GET / HTTP/1.1\r\nHost: allowed.test:1\r\n\r\n", 421, reasonHostMismatch},
		{"absolute URI of another", "GET https://" + other + "/ HTTP/1.1\r\nHost: " + other + "\r\n\r\n", 421, reasonHostMismatch},
		{"absolute URI of another, right Host", "GET https://" + other + "/ HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 421, reasonHostMismatch},
		{"absolute URI, Host of another", "GET https://" + at + "/ HTTP/1.1\r\nHost: " + other + "\r\n\r\n", 421, reasonHostMismatch},
		{"absolute http URI", "GET http://" + at + "/ HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 400, reasonScheme},
		{"absolute URI, implied port", "GET https://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n", 421, reasonHostMismatch},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: " + at + "\r\nHost: " + at + "\r\n\r\n", 400, reasonLength},
		{"NUL in Host", "GET / HTTP/1.1\r\nHost: allowed.test\x00.evil.test\r\n\r\n", 400, reasonHead},
		{"user in Host", "GET / HTTP/1.1\r\nHost: allowed.test@evil.test\r\n\r\n", 400, reasonHostInvalid},
		{"connect inside", "CONNECT " + at + " HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 403, reasonConnectInside},
		{"proxy's own page", "GET http://_egress.local/healthz HTTP/1.1\r\nHost: _egress.local\r\n\r\n", 421, reasonHostMismatch},
		{"length and coding", "POST / HTTP/1.1\r\nHost: " + at + "\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, reasonLength},
		{"h2c", "GET / HTTP/1.1\r\nHost: " + at + "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", 403, reasonUpgrade},
		{"head too large", "GET / HTTP/1.1\r\nHost: " + at + "\r\nX: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", 431, reasonHeadTooLarge},
		{"forwarded host is only a header", "GET / HTTP/1.1\r\nHost: " + at + "\r\nX-Forwarded-Host: evil.test\r\n\r\n", 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := b.tunnel("allowed.test", "allowed.test")
			c.send(tt.request)
			resp := c.response("GET")
			if tt.reason == "" {
				if resp.StatusCode != tt.status {
					t.Errorf("status %s", resp.Status)
				}
				return
			}
			refused(t, resp, tt.status, tt.reason)
			d := b.loggedReason(tt.reason)
			if d.Verdict != sidecars.Deny || d.Status != tt.status {
				t.Errorf("decision = %+v", d)
			}
		})
	}
}

// A connection that was good for one request stays bound to its name.
func TestKeepAliveIsBound(t *testing.T) {
	b := newBed(t, nil)
	c := b.tunnel("allowed.test", "allowed.test")
	for range 3 {
		c.send("GET / HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\n\r\n")
		if resp := c.response("GET"); resp.StatusCode != 200 {
			t.Fatalf("status %s", resp.Status)
		}
	}
	c.send("GET / HTTP/1.1\r\nHost: " + b.target("other.test") + "\r\n\r\n")
	refused(t, c.response("GET"), 421, reasonHostMismatch)
}

// A request before a malformed one is answered as if it came alone.
func TestFaultIsNotAttributedToOthers(t *testing.T) {
	b := newBed(t, nil)
	for range 20 {
		c := b.tunnel("allowed.test", "allowed.test")
		at := b.target("allowed.test")
		c.send("GET /good HTTP/1.1\r\nHost: " + at + "\r\n\r\nGET /bad HTTP/1.1\r\nHost: " + at + "\r\nHost: evil.test\r\n\r\n")
		if resp := c.response("GET"); resp.StatusCode != 200 {
			t.Fatalf("status %s for the good request", resp.Status)
		}
		refused(t, c.response("GET"), 400, reasonLength)
	}
	b.logged("the good request", func(d sidecars.Decision) bool { return d.Path == "/good" && d.Status == 200 })
	b.logged("the bad request", func(d sidecars.Decision) bool { return d.Path == "/bad" && d.Reason == reasonLength })
}

func TestH2Authority(t *testing.T) {
	b := newBed(t, nil)
	req := get(t, b.secureURL("allowed.test", "/"))
	req.Host = b.target("other.test") // becomes :authority
	resp, _ := fetch(t, b.client(true), req)
	refused(t, resp, 421, reasonHostMismatch)
}

func TestPlainNames(t *testing.T) {
	b := newBed(t, nil)
	at := hostPort(schemeHTTP, authority{Host: "allowed.test", Port: b.plainPort})
	tests := []struct {
		name, request string
		status        int
		reason        string
	}{
		{"good", "GET http://" + at + "/ HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 200, ""},
		{"1.0", "GET http://" + at + "/ HTTP/1.0\r\n\r\n", 200, ""},
		{"not for a proxy", "GET / HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 400, reasonNotProxy},
		{"https URI in the clear", "GET https://" + at + "/ HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 400, reasonScheme},
		{"Host differs", "GET http://" + at + "/ HTTP/1.1\r\nHost: evil.test\r\n\r\n", 421, reasonHostMismatch},
		{"NUL", "GET http://evil.test\x00." + at + "/ HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 400, reasonHead},
		{"user information", "GET http://allowed.test@evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n", 400, reasonHostInvalid},
		{"brackets", "GET http://[::ffff:127.0.0.1]:80/ HTTP/1.1\r\nHost: [::ffff:127.0.0.1]:80\r\n\r\n", 400, reasonHostInvalid},
		{"h2 prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 403, reasonUpgrade},
		{"bare LF", "GET http://" + at + "/ HTTP/1.1\nHost: " + at + "\n\n", 400, reasonHead},
		{"connect with body", "CONNECT " + at + " HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 400, reasonLength},
		{"connect, Host differs", "CONNECT allowed.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n", 421, reasonHostMismatch},
		{"connect NUL", "CONNECT evil.test\x00.allowed.test:443 HTTP/1.1\r\n\r\n", 400, reasonHead},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := b.raw()
			c.send(tt.request)
			resp := c.response("GET")
			if tt.reason == "" {
				if resp.StatusCode != tt.status {
					t.Errorf("status %s", resp.Status)
				}
				return
			}
			refused(t, resp, tt.status, tt.reason)
			b.loggedReason(tt.reason)
		})
	}
}

func TestSNI(t *testing.T) {
	b := newBed(t, nil)
	tests := []struct {
		name, sni, reason string
	}{
		{"other name", "other.test", reasonSNIMismatch},
		{"unlisted name", "evil.test", reasonSNIMismatch},
		{"none", "", reasonSNIMissing},
		{"address", "127.0.0.1", reasonSNIMissing}, // clients never send an address
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := b.raw()
			c.send("CONNECT " + b.target("allowed.test") + " HTTP/1.1\r\n\r\n")
			c.response("CONNECT")
			err := tls.Client(c.Conn, &tls.Config{ServerName: tt.sni, InsecureSkipVerify: true}).Handshake()
			if err == nil {
				t.Fatal("the handshake succeeded")
			}
			d := b.logged(tt.reason, func(d sidecars.Decision) bool { return d.Reason == tt.reason })
			if d.Layer != layerIdentity || d.Status != 421 || d.Host != "allowed.test" || d.Method != "CONNECT" {
				t.Errorf("decision = %+v", d)
			}
		})
	}
}

// A session ticket from one tunnel must not open another under its old name.
func TestSNIOnResumption(t *testing.T) {
	b := newBed(t, nil)
	cache := tls.NewLRUClientSessionCache(4)
	open := func(host, sni string) error {
		c := b.raw()
		c.send("CONNECT " + b.target(host) + " HTTP/1.1\r\n\r\n")
		c.response("CONNECT")
		secure := tls.Client(c.Conn, &tls.Config{ServerName: sni, RootCAs: b.authority, ClientSessionCache: cache, MaxVersion: tls.VersionTLS12})
		return secure.Handshake()
	}
	check(t, open("allowed.test", "allowed.test"))
	check(t, open("allowed.test", "allowed.test"))
	if err := open("other.test", "allowed.test"); err == nil {
		t.Error("a resumed session opened the tunnel of another host")
	}
}

func TestTunnelFailures(t *testing.T) {
	t.Run("plaintext", func(t *testing.T) {
		b := newBed(t, nil)
		c := b.raw()
		c.send("CONNECT " + b.target("auth.test") + " HTTP/1.1\r\n\r\n") // plain HTTP is not allowed there
		c.response("CONNECT")
		c.send("GET / HTTP/1.1\r\nHost: auth.test\r\n\r\n")
		refused(t, c.response("GET"), 400, reasonPlaintext)
		b.loggedReason(reasonPlaintext)
	})
	t.Run("distrust", func(t *testing.T) {
		b := newBed(t, nil)
		c := b.raw()
		c.send("CONNECT " + b.target("allowed.test") + " HTTP/1.1\r\n\r\n")
		c.response("CONNECT")
		if err := tls.Client(c.Conn, &tls.Config{ServerName: "allowed.test", RootCAs: x509.NewCertPool()}).Handshake(); err == nil {
			t.Fatal("the client trusts an unknown authority")
		}
		b.loggedReason(reasonClientTLS)
	})
	t.Run("silence", func(t *testing.T) {
		b := newBed(t, func(_ *bed, c *bedConfig) { c.opts.Limits.Handshake = 100 * time.Millisecond })
		var all []*rawConn
		for range 50 {
			c := b.raw()
			c.send("CONNECT " + b.target("allowed.test") + " HTTP/1.1\r\n\r\n")
			c.response("CONNECT")
			all = append(all, c)
		}
		for _, c := range all {
			if _, err := c.r.ReadByte(); err == nil {
				t.Fatal("a silent tunnel got a byte")
			} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Fatal("a silent tunnel stayed open")
			}
		}
		b.loggedReason(reasonClientTimeout)
	})
	t.Run("old TLS", func(t *testing.T) {
		b := newBed(t, nil)
		c := b.raw()
		c.send("CONNECT " + b.target("allowed.test") + " HTTP/1.1\r\n\r\n")
		c.response("CONNECT")
		if err := tls.Client(c.Conn, &tls.Config{ServerName: "allowed.test", RootCAs: b.authority, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}).Handshake(); err == nil {
			t.Error("TLS 1.1 was accepted")
		}
	})
}

// Some clients use CONNECT for http:// too. What is inside is judged alike.
func TestPlainTunnel(t *testing.T) {
	b := newBed(t, nil)
	at := hostPort(schemeHTTP, authority{Host: "allowed.test", Port: b.plainPort})
	other := hostPort(schemeHTTP, authority{Host: "other.test", Port: b.plainPort})
	tests := []struct {
		name, connect, request string
		status                 int
		reason                 string
	}{
		{"good", at, "GET / HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 200, ""},
		{"absolute", at, "GET http://" + at + "/ HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 200, ""},
		{"other Host", at, "GET / HTTP/1.1\r\nHost: " + other + "\r\n\r\n", 421, reasonHostMismatch},
		{"absolute URI of another", at, "GET http://" + other + "/ HTTP/1.1\r\nHost: " + other + "\r\n\r\n", 421, reasonHostMismatch},
		{"https URI", at, "GET https://" + at + "/ HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 400, reasonScheme},
		{"connect inside", at, "CONNECT " + at + " HTTP/1.1\r\n\r\n", 403, reasonConnectInside},
		{"push", at, "POST /r/git-receive-pack HTTP/1.1\r\nHost: " + at + "\r\nContent-Length: 0\r\n\r\n", 403, reasonGitPush},
		{"h2 prior knowledge", at, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 403, reasonUpgrade},
		{"anything else", at, "SSH-2.0-OpenSSH_9.2\r\n\r\n", 400, reasonHead},
		{"the proxy's own page", "_egress.local:80", "GET /healthz HTTP/1.1\r\nHost: _egress.local\r\n\r\n", 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := b.raw()
			c.send("CONNECT " + tt.connect + " HTTP/1.1\r\n\r\n")
			if resp := c.response("CONNECT"); resp.StatusCode != 200 {
				t.Fatalf("CONNECT: %s", resp.Status)
			}
			c.send(tt.request)
			resp := c.response("GET")
			if tt.reason != "" {
				refused(t, resp, tt.status, tt.reason)
			} else if resp.StatusCode != tt.status {
				t.Errorf("status %s", resp.Status)
			}
		})
	}
	t.Run("TLS on the http port", func(t *testing.T) {
		b := newBed(t, func(_ *bed, c *bedConfig) { c.routes = []sidecars.Route{{Host: "allowed.test"}} })
		c := b.raw()
		c.send("CONNECT allowed.test:80 HTTP/1.1\r\n\r\n")
		c.response("CONNECT")
		if err := tls.Client(c.Conn, &tls.Config{ServerName: "allowed.test", RootCAs: b.authority}).Handshake(); err == nil {
			t.Error("the handshake succeeded")
		}
		b.loggedReason(reasonPortNotAllowed)
	})
}

// CONNECT and ClientHello in one packet: two proxies of the field hang here.
func TestConnectAndHelloTogether(t *testing.T) {
	b := newBed(t, nil)
	c := b.raw()
	joined := &joinFirst{Conn: c.Conn, first: []byte("CONNECT " + b.target("allowed.test") + " HTTP/1.1\r\n\r\n"), skip: c}
	secure := tls.Client(joined, &tls.Config{ServerName: "allowed.test", RootCAs: b.authority})
	check(t, secure.Handshake())
	_, err := io.WriteString(secure, "GET / HTTP/1.1\r\nHost: "+b.target("allowed.test")+"\r\nConnection: close\r\n\r\n")
	check(t, err)
	raw, err := io.ReadAll(secure)
	check(t, err)
	if !strings.HasPrefix(string(raw), "HTTP/1.1 200 ") {
		t.Errorf("answer: %.80q", raw)
	}
}

// joinFirst puts first before the first write and skips one response on read.
type joinFirst struct {
	net.Conn
	first []byte
	skip  *rawConn
	read  bool
}

func (j *joinFirst) Write(p []byte) (int, error) {
	if _, err := j.Conn.Write(append(j.first, p...)); err != nil {
		return 0, err
	}
	j.first = nil
	return len(p), nil
}

func (j *joinFirst) Read(p []byte) (int, error) {
	if !j.read {
		j.read = true
		if resp := j.skip.response("CONNECT"); resp.StatusCode != http.StatusOK {
			return 0, io.ErrUnexpectedEOF
		}
	}
	return j.skip.r.Read(p)
}

func TestConnectionLimit(t *testing.T) {
	b := newBed(t, func(_ *bed, c *bedConfig) { c.opts.Limits.Connections = 4 })
	for range 4 {
		c := b.raw()
		c.send("GET http://_egress.local/healthz HTTP/1.1\r\nHost: _egress.local\r\n\r\n")
		if resp := c.response("GET"); resp.StatusCode != 200 {
			t.Fatalf("status %s", resp.Status)
		}
	}
	refused(t, b.raw().response("GET"), 503, reasonTooMany)
	b.loggedReason(reasonTooMany)
}
