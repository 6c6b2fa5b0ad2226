package egress

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Every way of cutting a body into chunks, or frames of HTTP/2, gives the verdict
// of the whole, and lets nothing of the secret out.
func TestBordersDoNotMatter(t *testing.T) {
	token := foreignToken()
	before, after := "a = '", "'; b"
	dirty := before + token + after
	clean := before + strings.ToLower(token[:8]) + after + "; some more"
	sizes := func(text string) (all [][]string) {
		for cut := range len(text) + 1 {
			all = append(all, []string{text[:cut], text[cut:]})
		}
		for size := 1; size < len(text); size += 3 {
			var parts []string
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				parts, rest = append(parts, rest[:n]), rest[n:]
			}
			all = append(all, parts)
		}
		return all
	}
	for _, text := range []string{dirty, clean} {
		refuse := text == dirty
		for protocol, send := range map[string]func(*scanBed, []string) (int, string){"h1": (*scanBed).sendChunks, "h2": (*scanBed).sendFrames} {
			t.Run(fmt.Sprintf("%s, refused %v", protocol, refuse), func(t *testing.T) {
				sb := newScanBed(t, nil)
				for _, parts := range sizes(text) {
					none := []byte(nil)
					sb.got.Store(&none)
					status, reason := send(sb, parts)
					sb.settled(t)
					if want := map[bool]int{true: http.StatusForbidden, false: http.StatusOK}[refuse]; status != want || refuse && reason != reasonSecretBody {
						t.Fatalf("%q: %d %s", parts, status, reason)
					}
					if got := *sb.got.Load(); bytes.Contains(got, []byte(token[:8])) || !refuse && string(got) != text {
						t.Fatalf("%q: the origin got %q", parts, got)
					}
				}
			})
		}
	}
}

// sendChunks sends a body in chunks over HTTP/1.1.
func (sb *scanBed) sendChunks(parts []string) (status int, reason string) {
	c := sb.tunnel("allowed.test", "allowed.test")
	defer c.Close()
	c.send("POST / HTTP/1.1\r\nHost: " + sb.target("allowed.test") + "\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, p := range parts {
		if p != "" {
			c.sendLate(fmt.Sprintf("%x\r\n%s\r\n", len(p), p))
		}
	}
	c.sendLate("0\r\n\r\n")
	resp := c.response("POST")
	return resp.StatusCode, resp.Header.Get(headerRefused)
}

// sendLate sends what may come after the answer.
func (c *rawConn) sendLate(s string) { _, _ = c.Conn.Write([]byte(s)) }

// sendFrames sends a body in DATA frames.
func (sb *scanBed) sendFrames(parts []string) (status int, reason string) {
	h := sb.h2("allowed.test")
	defer h.Close()
	h.begin(1, false, http.MethodPost, sb.target("allowed.test"), "/")
	for i, p := range parts {
		if h.WriteData(1, i == len(parts)-1, []byte(p)) != nil {
			break
		}
	}
	a := h.answer(1, nil)
	_, _ = fmt.Sscan(a.head[":status"], &status)
	return status, a.head["x-bottle-refused"]
}
