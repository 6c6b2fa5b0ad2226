package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
)

// failed answers for a request that got no response.
func (ex *exchange) failed(err error) {
	switch g := ex.s.guard; {
	case g != nil && g.broken.Load() != nil:
		ex.refuse(g.broken.Load())
	case ex.ending.reason() != nil:
		ex.refuse(ex.ending.reason())
	case ex.r.Context().Err() != nil:
		ex.d.Layer, ex.d.Reason, ex.d.Message = layerProxy, reasonClientGone, "The client closed the connection before the server answered."
		ex.d.Status = statusClientGone
		ex.abort()
	default:
		ex.refuse(ex.whyFailed(err))
	}
}

// certWish is the key under which a request's context says where to note that the
// server asked for a client's certificate.
type certWish struct{}

// noCertificate answers a server that asks for a client's certificate: there is
// none. Many servers ask and do without, so that alone is no failure.
func noCertificate(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if wish, ok := asked.Context().Value(certWish{}).(*atomic.Bool); ok {
		wish.Store(true)
	}
	return &tls.Certificate{}, nil
}

// whyFailed tells the failure of a server that wants a certificate from others.
func (ex *exchange) whyFailed(err error) *refusal {
	no := whyFailed(err)
	// A server that refuses the handshake for it says so in ways of its own, or
	// just closes the connection.
	if required := strings.Contains(err.Error(), "tls: certificate required"); required ||
		ex.certWish.Load() && (no.Reason == reasonUpstreamTLS || no.Reason == reasonUpstreamFailed) {
		no = upstreamRefusal(http.StatusBadGateway, reasonClientCert, "The server wants a certificate from its clients, and the proxy has none to show.")
		no.Ask = "Such a server cannot be used from a bottle: the proxy opens the connection itself, and puts on credentials that go into a header."
	}
	return no
}

// idle is the reason of an exchange on which nothing moves.
func idle() *refusal {
	return upstreamRefusal(http.StatusGatewayTimeout, reasonIdle, "No byte moved for too long.")
}

// whyFailed turns an error of the transport into what the agent may know. The
// error's own text is not passed on: it can quote what the server sent.
func whyFailed(err error) *refusal {
	var no *refusal
	if errors.As(err, &no) {
		return no
	}
	if no := whyTLSFailed(err); no != nil {
		return no
	}
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return upstreamRefusal(http.StatusGatewayTimeout, reasonUpstreamTimeout, "The server did not answer in time.")
	case errors.Is(err, syscall.ECONNREFUSED):
		return upstreamRefusal(http.StatusBadGateway, reasonUpstreamDown, "The server refused the connection.")
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return upstreamRefusal(http.StatusBadGateway, reasonUpstreamDown, "The server's network cannot be reached.")
	}
	return upstreamRefusal(http.StatusBadGateway, reasonUpstreamFailed, "The connection to the server failed before it answered.")
}

// whyTLSFailed returns nil for errors that are not about TLS.
func whyTLSFailed(err error) *refusal {
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		no := upstreamRefusal(http.StatusBadGateway, reasonUpstreamCert, "The server's certificate is not valid for its name or not signed by a trusted authority.")
		no.Ask = "Do not switch verification off, that changes nothing here; tell the operator if this server's certificate should be trusted."
		return no
	}
	var header tls.RecordHeaderError
	var alert tls.AlertError
	// Alerts that the peer sends arrive as *net.OpError without a type of
	// their own; crypto/tls marks all of its errors in the text.
	if errors.As(err, &header) || errors.As(err, &alert) || strings.Contains(err.Error(), "tls: ") || strings.Contains(err.Error(), "TLS handshake") {
		return upstreamRefusal(http.StatusBadGateway, reasonUpstreamTLS, "The TLS handshake with the server failed.")
	}
	return nil
}
