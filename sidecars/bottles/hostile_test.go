package bottles

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// hostile are requests that must not reach the host, or only as one request of
// ours.
var hostile = []struct {
	name, request string
	passes        int // requests that may reach the host
}{
	{"plain", rawBody("Content-Length: 2\r\n", "{}"), 1}, // the control: the others are refused for a reason
	{"two in one connection", rawBody("Content-Length: 2\r\n", "{}") + rawBody("Content-Length: 2\r\n", "{}"), 2},
	{"chunks", rawBody("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 1},
	{"absolute form", "POST http://127.0.0.1/mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 0},
	{"other host's absolute form", "POST http://10.0.0.1:22/mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 0},
	{"connect", "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"connect to the path", "CONNECT /mcp HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"dots", "POST /x/../mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 0},
	{"slashes", "POST //mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 0},
	{"trailing slash", "POST /mcp/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 0},
	{"escape", "POST /%6dcp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 0},
	{"query", "POST /mcp?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 0},
	{"case", "POST /MCP HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 0},
	{"star", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 0},
	{"old version", "POST /mcp HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 0},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
	{"upgrade", rawBody("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n", "{}"), 0},
	{"h2c", rawBody("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 2\r\n", "{}"), 0},
	{"trailers", rawBody("Trailer: Authorization\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\n\r\n"), 0},
	{"undeclared trailers", rawBody("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\n\r\n"), 1},
	{"page", rawBody("Origin: http://127.0.0.1\r\nContent-Length: 2\r\n", "{}"), 0},
	{"null page", rawBody("Origin: null\r\nContent-Length: 2\r\n", "{}"), 0},
	{"two lengths", rawBody("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"), 0},
	{"negative length", rawBody("Content-Length: -1\r\n", "{}"), 0},
	{"two encodings", rawBody("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "2\r\n{}\r\n0\r\n\r\n"), 0},
	{"bad chunk", rawBody("Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"), 0},
	{"half a body", rawBody("Content-Length: 3\r\n", "{}"), 0},
	{"credential", rawBody("Authorization: Bearer x\r\nAuthorization: Bearer y\r\nContent-Length: 2\r\n", "{}"), 1},
	{"credential by another case", rawBody("aUTHORIZATION: Bearer x\r\nContent-Length: 2\r\n", "{}"), 1},
	{"folded", rawBody("Accept: a\r\n Authorization: Bearer x\r\nContent-Length: 2\r\n", "{}"), 1},
	{"injected", rawBody("Mcp-Session-Id: a\r\rAuthorization: Bearer x\r\nContent-Length: 2\r\n", "{}"), 0},
	{"no host", "POST /mcp HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 0},
	{"two hosts", "POST /mcp HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", 0},
	{"space in the name", rawBody("Content-Length : 2\r\n", "{}"), 0},
}

func TestHostile(t *testing.T) {
	b := newBed(t, Limits{Head: 200 * time.Millisecond, Body: 200 * time.Millisecond})
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			b.rawAll(t, tt.request, max(1, tt.passes))
			got := b.requests()
			if len(got) != tt.passes {
				t.Errorf("%d requests reached the host, want %d: %+v", len(got), tt.passes, got)
			}
			checkSeen(t, b.host, got)
		})
	}
}

// checkSeen demands that whatever reached the host is a request of ours.
func checkSeen(t *testing.T, h *host, all []seen) {
	t.Helper()
	for _, s := range all {
		if s.target != sidecars.BottlesPath || s.host != sidecars.BottlesHost || !slices.Contains(methods, s.method) {
			t.Errorf("the host saw %s %s at %s", s.method, s.target, s.host)
		}
		if a := s.header["Authorization"]; len(a) != 1 || a[0] != "Bearer "+h.token {
			t.Errorf("the host was sent Authorization %q", a)
		}
		if int64(len(s.body)) > (Limits{}).withDefaults().BodyBytes {
			t.Errorf("the host was sent %d bytes", len(s.body))
		}
	}
}

// FuzzRequest sends whatever it likes: what reaches the host is always a
// request of ours, and the daemon serves on.
func FuzzRequest(f *testing.F) {
	for _, tt := range hostile {
		f.Add([]byte(tt.request))
	}
	b := newBed(f, Limits{Head: 10 * time.Millisecond, Body: 10 * time.Millisecond, KeepAlive: 10 * time.Millisecond, Stop: time.Millisecond})
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(testWait))
		_, _ = conn.Write(data)
		answer := make([]byte, 64<<10)
		n := 0
		for err == nil && n < len(answer) {
			var m int
			m, err = conn.Read(answer[n:])
			n += m
		}
		if strings.Contains(string(answer[:n]), b.token) {
			t.Error("the answer holds the token")
		}
		checkSeen(t, b.host, b.requests())
		for end := time.Now().Add(testWait); b.raw(t, rawBody("Content-Length: 2\r\n", "{}")) != 200; {
			if time.Now().After(end) { // its times are short, and the machine may be busy
				t.Fatal("afterwards it does not serve")
			}
		}
		b.requests()
	})
}
