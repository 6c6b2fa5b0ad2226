package egress

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2Conn speaks HTTP/2 frame by frame through a tunnel.
type h2Conn struct {
	t testing.TB
	net.Conn
	*http2.Framer
	heads bytes.Buffer
	enc   *hpack.Encoder
}

func (b *bed) h2(host string) *h2Conn {
	b.t.Helper()
	c := b.raw()
	target := b.target(host)
	c.send("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n")
	if resp := c.response("CONNECT"); resp.StatusCode != 200 {
		b.t.Fatalf("CONNECT: %s", resp.Status)
	}
	return b.h2Over(c.Conn, host)
}

// h2Over begins in a tunnel that is open.
func (b *bed) h2Over(c net.Conn, host string) *h2Conn {
	b.t.Helper()
	secure := tls.Client(c, &tls.Config{RootCAs: b.authority, ServerName: host, NextProtos: []string{protoH2}})
	check(b.t, secure.Handshake())
	if p := secure.ConnectionState().NegotiatedProtocol; p != protoH2 {
		b.t.Fatalf("protocol %q", p)
	}
	h := &h2Conn{t: b.t, Conn: secure, Framer: http2.NewFramer(secure, secure)}
	h.enc = hpack.NewEncoder(&h.heads)
	h.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err := io.WriteString(secure, http2.ClientPreface)
	check(b.t, err)
	check(b.t, h.WriteSettings())
	return h
}

// block encodes names and values in turn.
func (h *h2Conn) block(fields ...string) []byte {
	h.heads.Reset()
	for i := 0; i < len(fields); i += 2 {
		check(h.t, h.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	return bytes.Clone(h.heads.Bytes())
}

// begin sends the head of a request; fields are further headers.
func (h *h2Conn) begin(id uint32, end bool, method, authority, path string, fields ...string) {
	h.t.Helper()
	all := append([]string{":method", method, ":scheme", "https", ":authority", authority, ":path", path}, fields...)
	check(h.t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.block(all...), EndStream: end, EndHeaders: true}))
}

// h2Answer is what a stream came to.
type h2Answer struct {
	early   []string // statuses of 1xx
	head    map[string]string
	body    bytes.Buffer
	trailer map[string]string
	reset   http2.ErrCode
	broken  bool // a reset, GOAWAY or the end of the connection
}

// answer reads a stream to its end. each, when it is not nil, is told of data.
func (h *h2Conn) answer(id uint32, each func(data []byte)) *h2Answer {
	h.t.Helper()
	a := &h2Answer{}
	for {
		f, err := h.ReadFrame()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				h.t.Fatalf("stream %d hangs", id)
			}
			a.broken = true
			return a
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = h.WriteSettingsAck()
			}
		case *http2.GoAwayFrame:
			a.broken, a.reset = true, f.ErrCode
			return a
		}
		if f.Header().StreamID == id && a.take(f, each) {
			return a
		}
	}
}

// take adds a frame and reports whether it was the last one.
func (a *h2Answer) take(f http2.Frame, each func([]byte)) bool {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		fields := map[string]string{}
		for _, field := range f.Fields {
			fields[field.Name] = field.Value
		}
		switch status := fields[":status"]; {
		case status == "":
			a.trailer = fields
		case status[0] == '1':
			a.early = append(a.early, status)
		default:
			a.head = fields
		}
		return f.StreamEnded()
	case *http2.DataFrame:
		a.body.Write(f.Data())
		if each != nil {
			each(f.Data())
		}
		return f.StreamEnded()
	case *http2.RSTStreamFrame:
		a.broken, a.reset = true, f.ErrCode
		return true
	}
	return false
}
