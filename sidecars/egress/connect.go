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
)

const (
	connectOK = "HTTP/1.1 200 Connection Established\r\n\r\n"
	protoH2   = "h2"
	protoH1   = "http/1.1"
)

// connect opens a tunnel: it judges the name, takes the connection over,
// finishes TLS as that name and hands the connection back to the server, which
// then reads requests from it.
func (ex *exchange) connect() {
	ex.d.Scheme = schemeHTTPS
	to, err := parseAuthority(ex.r.RequestURI, 0)
	if err != nil {
		ex.refuse(badAuthority(err))
		return
	}
	ex.d.Host, ex.d.Port = to.host, to.port
	r, no := ex.p.table.decideHost(schemeHTTPS, to)
	if no != nil {
		ex.refuse(no)
		return
	}
	ex.d.Rule = r.rule
	ex.p.warmRoots()
	conn, early, err := ex.hijack()
	if err != nil {
		ex.refuse(unavailable(reasonInternal, "The proxy could not take the connection over."))
		return
	}
	ex.silent = true // each request inside has its line, and so has a failure
	ex.p.intercept(&tunnelConn{guestConn: conn, early: early, tunnel: &tunnel{to: to}}, ex.d)
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

// intercept does the handshake with the guest. The deadline on the raw
// connection is lifted afterwards: an absolute one would end long streams.
func (p *Proxy) intercept(c *tunnelConn, d sidecars.Decision) {
	_ = c.SetDeadline(time.Now().Add(p.limits.Handshake))
	if _, err := io.WriteString(c.guestConn, connectOK); err != nil {
		_ = c.Close()
		return
	}
	secure := tls.Server(c, p.guestTLS)
	if err := secure.HandshakeContext(context.Background()); err != nil { // bounded by the deadline
		p.handshakeFailed(c, err, d)
		return
	}
	_ = c.SetDeadline(time.Time{})
	var conn net.Conn = secure
	if secure.ConnectionState().NegotiatedProtocol != protoH2 {
		conn = newGuard(secure, c.tunnel, p.limits.HeadBytes)
	}
	if !p.inner.pass(conn) {
		_ = c.Close()
	}
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
	c.refused = compareSNI(hello.ServerName, c.tunnel.to.host)
	if c.refused != nil {
		return nil, c.refused
	}
	return nil, nil //nolint:nilnil // crypto/tls: no other configuration, no error
}

// compareSNI allows an absent name for addresses only: those cannot be sent as
// SNI.
func compareSNI(sni, host string) *refusal {
	if sni == "" {
		if looksNumeric(host) {
			return nil
		}
		return mismatch(reasonSNIMissing, "The TLS handshake names no server (SNI).")
	}
	if name, err := parseHost(sni); err != nil || name != host {
		return mismatch(reasonSNIMismatch, "The TLS handshake names another server (SNI) than the CONNECT request.")
	}
	return nil
}

func (p *Proxy) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, ok := hello.Conn.(*tunnelConn)
	if !ok {
		return nil, errors.New("not a tunnel")
	}
	return p.minter.Leaf(c.tunnel.to.host)
}

// handshakeFailed closes and records. A tunnel closed before it was used is
// not worth a line.
func (p *Proxy) handshakeFailed(c *tunnelConn, err error, d sidecars.Decision) {
	var plain tls.RecordHeaderError
	var no *refusal
	switch {
	case c.refused != nil:
		no = c.refused
	case errors.As(err, &plain) && plain.Conn != nil:
		no = protocolRefusal(reasonPlaintext, "Only TLS is accepted inside a tunnel.",
			"Use an https:// URL; for http:// send the absolute URL to the proxy instead of CONNECT.")
		no.Status = http.StatusBadRequest
		answerRaw(c.guestConn, no, no.body(d))
	case errors.Is(err, os.ErrDeadlineExceeded):
		no = protocolRefusal(reasonClientTimeout, "The client opened a tunnel and did not finish its TLS handshake in time.", askFix)
	case errors.Is(err, io.EOF):
		_ = c.Close()
		return
	default:
		no = protocolRefusal(reasonClientTLS, "The TLS handshake with the client failed; most often the client does not trust the bottle's certificate authority.",
			"Point the client at the bottle's CA bundle (SSL_CERT_FILE names it).")
	}
	_ = c.Close()
	p.record(d, no)
}
