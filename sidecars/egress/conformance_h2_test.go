package egress

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// h2Rows are those of a client that speaks HTTP/2.
func h2Rows() []conformanceRow {
	return []conformanceRow{
		{"h2 to the client and to the upstream", func(t *testing.T, c *conformer) {
			h := c.h2("allowed.test")
			h.begin(1, true, "GET", c.target("allowed.test"), "/x?y=z")
			if a := h.answer(1, nil); a.broken || a.head[":status"] != "200" || a.head["alt-svc"] != "" || c.arrived().Proto != "HTTP/2.0" || c.arrived().URI != "/x?y=z" {
				t.Errorf("%+v, the origin saw %+v", a, c.arrived())
			}
		}},
		{"h2: gRPC with trailers, message by message", func(t *testing.T, c *conformer) {
			h := c.h2("allowed.test")
			h.begin(1, false, "POST", c.target("allowed.test"), "/duplex", "content-type", "application/grpc", "te", "trailers")
			message := []byte{0, 0, 0, 0, 3, 'a', 'b', 'c'}
			check(t, h.WriteData(1, false, message))
			rounds, got := 0, 0
			a := h.answer(1, func(data []byte) {
				if got += len(data); got < len(message) {
					return
				}
				got = 0
				if rounds++; rounds < 3 {
					check(t, h.WriteData(1, false, message))
				} else {
					check(t, h.WriteData(1, true, nil))
				}
			})
			if a.broken || rounds != 3 || a.body.String() != strings.Repeat(string(message), 3) {
				t.Errorf("%d rounds, %+v", rounds, a)
			}
			h.begin(3, true, "POST", c.target("allowed.test"), "/trailers", "content-type", "application/grpc", "te", "trailers")
			if a := h.answer(3, nil); a.broken || a.trailer["grpc-status"] != "0" {
				t.Errorf("%+v", a)
			}
		}},
		{"h2: request trailers", func(t *testing.T, c *conformer) {
			h := c.h2("allowed.test")
			h.begin(1, false, "POST", c.target("allowed.test"), "/trailers", "trailer", "x-sum")
			check(t, h.WriteData(1, false, []byte("abc")))
			check(t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.block("x-sum", "42"), EndStream: true, EndHeaders: true}))
			if a := h.answer(1, nil); a.broken || a.body.String() != "hello" || c.tails.Load().Get("X-Sum") != "42" {
				t.Errorf("%+v, the origin's trailers %v", a, *c.tails.Load())
			}
		}},
		{"h2: 103 early hints", func(t *testing.T, c *conformer) {
			h := c.h2("allowed.test")
			h.begin(1, true, "GET", c.target("allowed.test"), "/hints")
			if a := h.answer(1, nil); a.broken || len(a.early) != 1 || a.early[0] != "103" || a.body.String() != "done" {
				t.Errorf("%+v", a)
			}
		}},
		{"h2: an upstream that dies within a body resets the stream", func(t *testing.T, c *conformer) {
			h := c.h2("allowed.test")
			h.begin(1, true, "GET", c.target("allowed.test"), "/breaks")
			if a := h.answer(1, nil); !a.broken || a.reset == http2.ErrCodeNo {
				t.Errorf("%+v", a)
			}
			h.begin(3, true, "GET", c.target("allowed.test"), "/") // the connection goes on
			if a := h.answer(3, nil); a.broken || a.head[":status"] != "200" {
				t.Errorf("the next stream: %+v", a)
			}
		}},
		{"h2: a reset cancels the upstream", func(t *testing.T, c *conformer) {
			h := c.h2("allowed.test")
			h.begin(1, true, "GET", c.target("allowed.test"), "/wait")
			c.until(t, "the request at the origin", func() bool { return c.running.Load() > 0 })
			check(t, h.WriteRSTStream(1, http2.ErrCodeCancel))
			c.given(t)
		}},
		{"h2: rapid resets run no more than the limit", func(t *testing.T, c *conformer) {
			h := c.h2("allowed.test")
			for i := range 3000 {
				id := uint32(2*i + 1)
				all := h.block(":method", "GET", ":scheme", "https", ":authority", c.target("allowed.test"), ":path", "/wait")
				if h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: all, EndStream: true, EndHeaders: true}) != nil ||
					h.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
					break // the proxy had enough of it
				}
			}
			_ = h.Close()
			c.quiet()
			c.until(t, "end at the origin", func() bool { return c.running.Load() == 0 })
			if most := c.most.Load(); most > maxStreams {
				t.Errorf("%d requests ran at a time", most)
			}
		}},
		{"h2: more streams than allowed are refused", func(t *testing.T, c *conformer) {
			h := c.h2("allowed.test")
			for i := range maxStreams + 1 {
				h.begin(uint32(2*i+1), true, "GET", c.target("allowed.test"), "/wait")
			}
			if a := h.answer(2*maxStreams+1, nil); !a.broken || a.reset != http2.ErrCodeRefusedStream {
				t.Errorf("%+v", a)
			}
			if most := c.most.Load(); most > maxStreams {
				t.Errorf("%d requests ran at a time", most)
			}
		}},
		{"h2: endless CONTINUATION ends the connection", func(t *testing.T, c *conformer) {
			h := c.h2("allowed.test")
			first := h.block(":method", "GET", ":scheme", "https", ":authority", c.target("allowed.test"), ":path", "/")
			check(t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: first, EndStream: true}))
			field := h.block("x-pad", strings.Repeat("~", 8<<10))
			sent := 0
			for ; sent < 64<<20; sent += len(field) {
				if h.WriteContinuation(1, false, field) != nil {
					break
				}
			}
			if sent >= 64<<20 {
				t.Error("64 MB of headers were taken")
			}
			if at := c.arrived(); at.Host != "" {
				t.Errorf("the origin was asked for %s", at.URI)
			}
		}},
		{"h2: oversize heads", func(t *testing.T, c *conformer) {
			h := c.h2("allowed.test")
			block := h.block(":method", "GET", ":scheme", "https", ":authority", c.target("allowed.test"), ":path", "/", "x-pad", strings.Repeat("~", 100<<10))
			const frame = 16 << 10
			check(t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:frame], EndStream: true}))
			for block = block[frame:]; len(block) > frame; block = block[frame:] {
				_ = h.WriteContinuation(1, false, block[:frame])
			}
			_ = h.WriteContinuation(1, true, block)
			if a := h.answer(1, nil); !a.broken && a.head[":status"] != "431" {
				t.Errorf("%+v", a)
			}
			if at := c.arrived(); at.Host != "" {
				t.Errorf("the origin was asked for %s", at.URI)
			}
		}},
		{"h2: another authority, two Hosts, forbidden headers", func(t *testing.T, c *conformer) {
			h := c.h2("allowed.test")
			at := c.target("allowed.test")
			for i, tt := range []struct {
				authority string
				fields    []string
			}{
				{c.target("other.test"), nil},
				{at, []string{"host", c.target("other.test")}},
				{at, []string{"connection", "keep-alive"}},
				{at, []string{"transfer-encoding", "chunked"}},
				{at, []string{"upgrade", "websocket"}},
				{at, []string{"content-length", "1", "content-length", "2"}},
				{at, []string{"X-Upper", "1"}},
			} {
				id := uint32(2*i + 1)
				h.begin(id, true, "GET", tt.authority, "/", tt.fields...)
				if a := h.answer(id, nil); !a.broken && a.head[":status"] < "400" {
					t.Errorf("%s %v: %+v", tt.authority, tt.fields, a)
				}
			}
			if got := c.arrived(); got.Host != "" {
				t.Errorf("the origin was asked for %s with %v", got.URI, got.Header)
			}
		}},
		{"h2: extended CONNECT is not offered", func(t *testing.T, c *conformer) {
			h := c.h2("allowed.test")
			check(t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true,
				BlockFragment: h.block(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", c.target("allowed.test"), ":path", "/ws")}))
			if a := h.answer(1, nil); !a.broken && a.head[":status"] < "400" {
				t.Errorf("%+v", a)
			}
		}},
		{"h2: a secret in a body, however it is framed", func(t *testing.T, c *conformer) {
			text := strings.Repeat("nothing here. ", 20) + foreignToken() + strings.Repeat(" nothing there.", 20)
			h := c.h2("allowed.test")
			id := uint32(1)
			for _, size := range []int{1, 7, 33, 100, len(text)} {
				h.begin(id, false, "POST", c.target("allowed.test"), "/")
				for rest := text; rest != ""; {
					n := min(size, len(rest))
					if h.WriteData(id, n == len(rest), []byte(rest[:n])) != nil {
						break
					}
					rest = rest[n:]
				}
				if a := h.answer(id, nil); a.head[":status"] != "403" || a.head["x-bottle-refused"] != reasonSecretBody {
					t.Errorf("frames of %d bytes: %+v", size, a)
				}
				id += 2
			}
			// The control.
			h = c.h2("off.test")
			h.begin(1, false, "POST", c.target("off.test"), "/")
			check(t, h.WriteData(1, true, []byte(text)))
			if a := h.answer(1, nil); a.broken || a.head[":status"] != "200" {
				t.Errorf("control: %+v", a)
			}
		}},
	}
}
