package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

const (
	connectOK = "HTTP/1.1 200 Connection Established\r\n\r\n"
	protoH2   = "h2"
	protoH1   = "http/1.1"
	// recordHandshake is the first byte of every TLS connection, and of no
	// HTTP request.
	recordHandshake = 0x16
	// firstRead holds a usual ClientHello.
	firstRead = 2 << 10
)

// errUnused says that the client left its tunnel before it sent a byte.
var errUnused = errors.New("the tunnel was closed unused")

// connect opens a tunnel: it judges the name, takes the connection over,
// finishes TLS as that name and hands the connection back to the server, which
// then reads requests from it.
func (ex *exchange) connect() {
	ex.d.Scheme = schemeHTTPS
	to, err := policy.ParseAuthority(ex.r.RequestURI, 0)
	if err != nil {
		ex.refuse(badAuthority(err))
		return
	}
	ex.d.Host, ex.d.Port = to.Host, to.Port
	rule, no := ex.p.current.Load().table.decideTunnel(to)
	if no != nil {
		ex.refuse(no)
		return
	}
	ex.d.Rule = rule
	ex.p.warmRoots()
	conn, early, err := ex.hijack()
	if err != nil {
		ex.refuse(unavailable(reasonInternal, "The proxy could not take the connection over."))
		return
	}
	ex.silent = true // each request inside has its line, and so has a failure
	ex.p.intercept(&tunnelConn{guestConn: conn, early: early, tunnel: &tunnel{to: to, scheme: schemeHTTPS}}, ex.d)
}

// hijack takes the guest's connection from net/http, with the bytes that were
// read from it already.
func (ex *exchange) hijack() (*guestConn, []byte, error) {
	_, buffered, err := ex.rc.Hijack()
	if err != nil {
		return nil, nil, err
	}
	ex.taken = true
	early := append(peekAll(buffered.Reader), ex.s.guard.buf...)
	return ex.s.raw, early, nil
}

func peekAll(b *bufio.Reader) []byte {
	held, err := b.Peek(b.Buffered())
	if err != nil {
		return nil
	}
	return slices.Clone(held)
}

// intercept answers the CONNECT, finds out what the client speaks and hands
// the connection to the server. The deadline on the raw connection is lifted
// afterwards: an absolute one would end long streams.
func (p *Proxy) intercept(c *tunnelConn, d sidecars.Decision) {
	_ = c.SetDeadline(time.Now().Add(p.limits.Handshake))
	conn, err := p.openTunnel(c)
	if err != nil {
		p.tunnelFailed(c, err, d)
		return
	}
	_ = c.SetDeadline(time.Time{})
	inner := p.inner
	if _, h2 := conn.(*tls.Conn); h2 {
		inner = p.innerH2
	}
	if !inner.pass(conn) {
		_ = c.Close()
	}
}

func (p *Proxy) openTunnel(c *tunnelConn) (net.Conn, error) {
	if _, err := io.WriteString(c.guestConn, connectOK); err != nil {
		return nil, errUnused
	}
	if err := c.fill(); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errUnused
		}
		return nil, err
	}
	if c.early[0] != recordHandshake {
		return p.openPlain(c)
	}
	if c.refused = p.judgeTunnel(schemeHTTPS, c.tunnel.to); c.refused != nil {
		return nil, c.refused
	}
	secure := tls.Server(c, p.guestTLS)
	if err := secure.HandshakeContext(context.Background()); err != nil { // bounded by the deadline
		return nil, err
	}
	if secure.ConnectionState().NegotiatedProtocol == protoH2 {
		return secure, nil
	}
	return newGuard(secure, c.tunnel, p.limits.HeadBytes), nil
}

// openPlain serves clients that use CONNECT for http:// URLs and ws:// too
// (Node's fetch does). The requests inside are judged like any plain ones.
func (p *Proxy) openPlain(c *tunnelConn) (net.Conn, error) {
	if c.refused = p.judgeTunnel(schemeHTTP, c.tunnel.to); c.refused != nil {
		return nil, c.refused
	}
	c.tunnel.scheme = schemeHTTP
	return newGuard(c, c.tunnel, p.limits.HeadBytes), nil
}

// judgeTunnel refuses a tunnel in which the client speaks what its port or
// route does not allow.
func (p *Proxy) judgeTunnel(scheme string, to authority) *refusal {
	if scheme == schemeHTTP && to == localAuthority() {
		return nil
	}
	_, no := p.current.Load().table.decideHost(scheme, to)
	if no == nil || scheme == schemeHTTPS {
		return no
	}
	no = protocolRefusal(reasonPlaintext, "Only TLS is accepted in a tunnel to this host and port.", "Use an https:// URL.").withRule(no.Rule)
	no.Status = http.StatusBadRequest
	return no
}

func (p *Proxy) newGuestTLS() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{protoH2, protoH1},
		GetConfigForClient: checkHello,
		GetCertificate:     p.certificate,
	}
}

// checkHello compares the ClientHello's name with the tunnel's. It runs for
// resumed sessions too, for which no certificate is asked.
func checkHello(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c, ok := hello.Conn.(*tunnelConn)
	if !ok {
		return nil, errors.New("not a tunnel")
	}
	c.refused = compareSNI(hello.ServerName, c.tunnel.to.Host)
	if c.refused != nil {
		return nil, c.refused
	}
	return nil, nil //nolint:nilnil // crypto/tls: no other configuration, no error
}

// compareSNI allows an absent name for addresses only: those cannot be sent as
// SNI.
func compareSNI(sni, host string) *refusal {
	if sni == "" {
		if policy.NumericHost(host) {
			return nil
		}
		return mismatch(reasonSNIMissing, "The TLS handshake names no server (SNI).")
	}
	if name, err := policy.ParseHost(sni); err != nil || name != host {
		return mismatch(reasonSNIMismatch, "The TLS handshake names another server (SNI) than the CONNECT request.")
	}
	return nil
}

func (p *Proxy) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, ok := hello.Conn.(*tunnelConn)
	if !ok {
		return nil, errors.New("not a tunnel")
	}
	return p.minter.Leaf(c.tunnel.to.Host)
}

// tunnelFailed closes and records. A tunnel closed before it was used is not
// worth a line.
func (p *Proxy) tunnelFailed(c *tunnelConn, err error, d sidecars.Decision) {
	defer func() { _ = c.Close() }()
	no := c.refused
	switch {
	case no != nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		no = protocolRefusal(reasonClientTimeout, "The client opened a tunnel and did not begin to use it in time.", askFix)
	case errors.Is(err, errUnused):
		return
	default:
		no = protocolRefusal(reasonClientTLS, "The TLS handshake with the client failed; most often the client does not trust the bottle's certificate authority.",
			"Point the client at the bottle's CA bundle (SSL_CERT_FILE names it).")
	}
	p.record(d, no)
	if no.Reason == reasonPlaintext {
		answerRaw(c.guestConn, no, no.body(d))
	}
}
