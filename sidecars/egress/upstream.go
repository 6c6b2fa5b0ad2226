package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
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
		ex.refuse(whyFailed(err))
	}
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
