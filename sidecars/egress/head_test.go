package egress

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

func TestInspectHead(t *testing.T) {
	const host = "Host: a.test\r\n"
	tests := []struct {
		name, head string
		reason     string // "" accepts
		framing    framing
	}{
		{"get", "GET /a?b=50% HTTP/1.1\r\n" + host, "", noBody},
		{"absolute", "GET http://a.test/x HTTP/1.1\r\n" + host, "", noBody},
		{"absolute, port spelled out", "GET http://a.test:80/x HTTP/1.1\r\n" + host, "", noBody},
		{"absolute, case and dot", "GET http://A.TEST./x HTTP/1.1\r\n" + host, "", noBody},
		{"absolute 1.0 without Host", "GET http://a.test/x HTTP/1.0\r\n", "", noBody},
		{"options star", "OPTIONS * HTTP/1.1\r\n" + host, "", noBody},
		{"sized", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n", "", sizedBody},
		{"sized zero", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0\r\n", "", noBody},
		{"chunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: Chunked\r\n", "", chunkedBody},
		{"connect", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n", "", rawBytes},
		{"connect, Host without port", "CONNECT a.test:443 HTTP/1.1\r\n" + host, "", rawBytes},
		{"connect without Host", "CONNECT a.test:443 HTTP/1.1\r\n", "", rawBytes},
		{"websocket", "GET / HTTP/1.1\r\n" + host + "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n", "", rawBytes},
		{"high bytes in a value", "GET / HTTP/1.1\r\n" + host + "X: \xc3\xa9\r\n", "", noBody},

		{"empty", "", reasonHead, 0},
		{"lower-case method", "get / HTTP/1.1\r\n" + host, reasonHead, 0},
		{"two blanks", "GET  / HTTP/1.1\r\n" + host, reasonHead, 0},
		{"tab for blank", "GET\t/ HTTP/1.1\r\n" + host, reasonHead, 0},
		{"no version", "GET /\r\n" + host, reasonHead, 0},
		{"version 0.9", "GET / HTTP/0.9\r\n" + host, reasonHead, 0},
		{"version 1.2", "GET / HTTP/1.2\r\n" + host, reasonHead, 0},
		{"h2 prior knowledge", "PRI * HTTP/2.0\r\n", reasonUpgrade, 0},
		{"blank in target", "GET /a b HTTP/1.1\r\n" + host, reasonHead, 0},
		{"fragment", "GET /a#b HTTP/1.1\r\n" + host, reasonTarget, 0},
		{"backslash", `GET /a\..\b HTTP/1.1` + "\r\n" + host, reasonTarget, 0},
		{"raw UTF-8 in target", "GET /é HTTP/1.1\r\n" + host, reasonTarget, 0},
		{"broken escape", "GET /a%2 HTTP/1.1\r\n" + host, reasonTarget, 0},
		{"no slash", "GET a HTTP/1.1\r\n" + host, reasonTarget, 0},
		{"star for get", "GET * HTTP/1.1\r\n" + host, reasonTarget, 0},
		{"bare LF", "GET / HTTP/1.1\r\n" + host + "X: a\nY: b\r\n", reasonHead, 0},
		{"bare CR", "GET / HTTP/1.1\r\n" + host + "X: a\rY: b\r\n", reasonHead, 0},
		{"NUL in a value", "GET / HTTP/1.1\r\n" + host + "X: a\x00b\r\n", reasonHead, 0},
		{"folded", "GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n", reasonHead, 0},
		{"first header folded", "GET / HTTP/1.1\r\n X: a\r\n" + host, reasonHead, 0},
		{"blank before colon", "GET / HTTP/1.1\r\n" + host + "Content-Length : 5\r\n", reasonHead, 0},
		{"no colon", "GET / HTTP/1.1\r\n" + host + "X\r\n", reasonHead, 0},
		{"no name", "GET / HTTP/1.1\r\n" + host + ": a\r\n", reasonHead, 0},
		{"high byte in a name", "GET / HTTP/1.1\r\n" + host + "X\xc3\xa9: a\r\n", reasonHead, 0},
		{"too many lines", "GET / HTTP/1.1\r\n" + host + strings.Repeat("X: a\r\n", maxHeaderLines), reasonHeadTooLarge, 0},

		{"no Host", "GET / HTTP/1.1\r\n", reasonHostInvalid, 0},
		{"no Host in 1.0", "GET / HTTP/1.0\r\n", reasonHostInvalid, 0},
		{"empty Host", "GET / HTTP/1.1\r\nHost: \r\n", reasonHostInvalid, 0},
		{"NUL escape in host", "GET http://evil%00.a.test/ HTTP/1.1\r\n" + host, reasonHostInvalid, 0},
		{"user information", "GET http://a.test@evil.test/ HTTP/1.1\r\nHost: evil.test\r\n", reasonHostInvalid, 0},
		{"user and password", "GET http://u:p@evil.test/ HTTP/1.1\r\nHost: evil.test\r\n", reasonPortInvalid, 0},
		{"brackets", "GET http://[::1]/ HTTP/1.1\r\nHost: [::1]\r\n", reasonHostInvalid, 0},
		{"port 0", "CONNECT a.test:0 HTTP/1.1\r\n", reasonPortInvalid, 0},
		{"port twice", "CONNECT a.test:443:80 HTTP/1.1\r\n", reasonPortInvalid, 0},
		{"connect without port", "CONNECT a.test HTTP/1.1\r\n", reasonPortInvalid, 0},
		{"connect to a path", "CONNECT /rpc HTTP/1.1\r\n", reasonHostInvalid, 0},
		{"two Hosts", "GET / HTTP/1.1\r\n" + host + host, reasonLength, 0},
		{"Host of another", "GET http://a.test/ HTTP/1.1\r\nHost: evil.test\r\n", reasonHostMismatch, 0},
		{"Host of another port", "GET http://a.test:81/ HTTP/1.1\r\nHost: a.test\r\n", reasonHostMismatch, 0},
		{"Host of another in connect", "CONNECT a.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n", reasonHostMismatch, 0},
		{"other scheme", "GET ftp://a.test/ HTTP/1.1\r\n" + host, reasonScheme, 0},

		{"length twice", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 5\r\n", reasonLength, 0},
		{"length list", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5, 5\r\n", reasonLength, 0},
		{"length signed", "POST / HTTP/1.1\r\n" + host + "Content-Length: +5\r\n", reasonLength, 0},
		{"length negative", "POST / HTTP/1.1\r\n" + host + "Content-Length: -5\r\n", reasonLength, 0},
		{"length hex", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0x5\r\n", reasonLength, 0},
		{"length empty", "POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n", reasonLength, 0},
		{"length huge", "POST / HTTP/1.1\r\n" + host + "Content-Length: 9999999999999999999\r\n", reasonLength, 0},
		{"length and coding", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", reasonLength, 0},
		{"coding twice", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", reasonLength, 0},
		{"coding list", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n", reasonLength, 0},
		{"coding identity", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n", reasonLength, 0},
		{"coding disguised", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n", reasonLength, 0},
		{"coding in 1.0", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n", reasonLength, 0},
		{"connect with body", "CONNECT a.test:443 HTTP/1.1\r\nContent-Length: 5\r\n", reasonLength, 0},

		{"h2c", "GET / HTTP/1.1\r\n" + host + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", reasonUpgrade, 0},
		{"other upgrade", "GET / HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: foo\r\n", reasonUpgrade, 0},
		{"upgrade list", "GET / HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", reasonUpgrade, 0},
		{"upgrade empty", "GET / HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade:\r\n", reasonUpgrade, 0},
		{"upgrade without Connection", "GET / HTTP/1.1\r\n" + host + "Upgrade: websocket\r\n", reasonUpgrade, 0},
		{"upgrade by POST", "POST / HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: websocket\r\n", reasonUpgrade, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, no := inspectHead([]byte(tt.head+"\r\n"), portHTTP)
			switch {
			case no == nil && tt.reason != "":
				t.Errorf("accepted, want %s", tt.reason)
			case no != nil && no.Reason != tt.reason:
				t.Errorf("refused with %s (%s), want %q", no.Reason, no.Message, tt.reason)
			case no == nil && h.framing != tt.framing:
				t.Errorf("framing = %d, want %d", h.framing, tt.framing)
			}
		})
	}
}

// stream is a net.Conn that reads from r.
type stream struct {
	net.Conn
	r io.Reader
}

func (s stream) Read(p []byte) (int, error) { return s.r.Read(p) }

func TestGuardFollowsBodies(t *testing.T) {
	const (
		get  = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
		post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nGET /"
		chkd = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0A\r\n0123456789\r\n0\r\nX-T: v\r\n\r\n"
		evil = "GET http://a.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n"
		sock = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nany\nbytes\x00"
	)
	tests := []struct {
		name, in, out string
		fault         string
	}{
		{"pipelined", get + post + chkd + get, get + post + chkd + get, ""},
		{"raw after an upgrade", post + sock, post + sock, ""},
		{"bad second head", chkd + evil + get, chkd + faultHead, reasonHostMismatch},
		{"empty line before a request", post + "\r\n" + get, post + faultHead, reasonHead},
	}
	for _, tt := range tests {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "halves": iotest.HalfReader, "with EOF": iotest.DataErrReader,
		} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				g := newGuard(stream{r: wrap(strings.NewReader(tt.in))}, nil, 4096)
				got, err := io.ReadAll(g)
				check(t, err)
				if string(got) != tt.out {
					t.Errorf("passed on %q, want %q", got, tt.out)
				}
				if f := g.found.Load(); (f == nil) != (tt.fault == "") || f != nil && f.refusal.Reason != tt.fault {
					t.Errorf("fault = %v, want %q", f, tt.fault)
				}
			})
		}
	}
}

func TestGuardRefusesChunks(t *testing.T) {
	for name, body := range map[string]string{
		"bare LF after size":   "5\nhello\r\n0\r\n\r\n",
		"extension":            "5;a=b\r\nhello\r\n0\r\n\r\n",
		"blank before size":    " 5\r\nhello\r\n0\r\n\r\n",
		"blank after size":     "5 \r\nhello\r\n0\r\n\r\n",
		"sign":                 "+5\r\nhello\r\n0\r\n\r\n",
		"hex prefix":           "0x5\r\nhello\r\n0\r\n\r\n",
		"no size":              "\r\nhello\r\n0\r\n\r\n",
		"negative":             "-1\r\nhello\r\n0\r\n\r\n",
		"huge":                 "FFFFFFFFFFFFFFFF\r\nhello",
		"data too long":        "5\r\nhello!\r\n0\r\n\r\n",
		"no CR after data":     "5\r\nhello\n0\r\n\r\n",
		"trailer folded":       "0\r\nX: a\r\n b\r\n\r\n",
		"trailer without name": "0\r\nX\r\n\r\n",
		"trailer bare LF":      "0\r\nX: a\n\r\n",
		"trailer endless":      "0\r\nX: " + strings.Repeat("a", maxTrailer) + "\r\n\r\n",
		"trailer with NUL":     "0\r\nX: a\x00\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(stream{r: strings.NewReader("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + body)}, nil, 4096)
			_, err := io.ReadAll(g)
			var no *refusal
			if !errors.As(err, &no) || no.Reason != reasonBody {
				t.Errorf("error = %v, want %s", err, reasonBody)
			}
		})
	}
}

func TestGuardBoundsHeads(t *testing.T) {
	for name, in := range map[string]string{
		"endless line":   "GET /" + strings.Repeat("a", 8192),
		"complete":       "GET / HTTP/1.1\r\nHost: a.test\r\nX: " + strings.Repeat("a", 8192) + "\r\n\r\n",
		"endless header": "GET / HTTP/1.1\r\n" + strings.Repeat("X: a\r\n", 4096),
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(stream{r: strings.NewReader(in)}, nil, 4096)
			got, err := io.ReadAll(g)
			check(t, err)
			if f := g.found.Load(); string(got) != faultHead || f == nil || f.refusal.Reason != reasonHeadTooLarge {
				t.Errorf("passed on %.40q, fault %v", got, f)
			}
		})
	}
}

// FuzzGuard feeds any byte stream, cut at any place, and checks the promise
// that smuggling breaks: everything that passes is read by net/http as the
// same requests, with the same ends.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.0\r\nHost: b.test\r\n\r\n",
		"CONNECT a.test:443 HTTP/1.1\r\n\r\n\x16\x03",
		"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
		"GET /%zz HTTP/1.1\r\nHost: a.test\r\n\r\n",
	} {
		f.Add([]byte(s), 7)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		cut = min(max(cut, 0), len(in))
		g := newGuard(stream{r: io.MultiReader(bytes.NewReader(in[:cut]), bytes.NewReader(in[cut:]))}, nil, 1024)
		out, err := io.ReadAll(g)
		if len(out) > len(in)+len(faultHead) {
			t.Fatalf("%d bytes came out of %d", len(out), len(in))
		}
		if whole := bytes.TrimSuffix(out, []byte(faultHead)); !bytes.HasPrefix(in, whole) {
			t.Fatalf("changed %q to %q", in, out)
		}
		compareReading(t, out, err != nil || g.state != inHead || len(g.buf) > 0)
	})
}

// compareReading lets net/http read out and demands that it finds each head
// where the guard found one. cut says that out ends within a message.
func compareReading(t *testing.T, out []byte, cut bool) {
	src := bytes.NewReader(out)
	r := bufio.NewReader(src)
	for {
		rest := out[len(out)-src.Len()-r.Buffered():]
		if len(rest) == 0 {
			return
		}
		end := bytes.Index(rest, []byte("\r\n\r\n"))
		if end < 0 {
			t.Fatalf("no whole head where net/http ends a message: %q of %q", rest, out)
		}
		h, no := inspectHead(rest[:end+4], portHTTP)
		if no != nil {
			t.Fatalf("no acceptable head (%s) where net/http ends a message: %q of %q", no.Message, rest, out)
		}
		req, err := http.ReadRequest(r)
		if err != nil {
			t.Fatalf("net/http refuses what passed: %v\n%q", err, out)
		}
		to, err := policy.ParseAuthority(req.Host, h.to.Port)
		if req.Method != h.method || req.RequestURI != h.target || err != nil || to.Host != h.to.Host {
			t.Fatalf("net/http reads %s %s for %q, the guard %+v", req.Method, req.RequestURI, req.Host, h)
		}
		if h.framing == rawBytes {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			if !cut {
				t.Fatalf("net/http reads the body as broken: %v\n%q", err, out)
			}
			return
		}
	}
}
