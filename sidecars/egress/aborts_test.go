package egress

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// envAborts is how many clients abort in each of the ways; evals/results/egress-aborts.md
// has the figures of the full form.
const envAborts = "BOTTLE_EGRESS_ABORTS"

func abortsEach(t *testing.T) int {
	t.Helper()
	text := os.Getenv(envAborts)
	if text == "" && testing.Short() {
		return 15
	} else if text == "" {
		return 50
	}
	n, err := strconv.Atoi(text)
	check(t, err)
	return n
}

// visitor is a client that leaves nothing with the test.
type visitor struct {
	net.Conn
	r *bufio.Reader
}

func (b *bed) visit() *visitor {
	c, err := net.Dial("tcp", b.addr)
	check(b.t, err)
	check(b.t, c.SetDeadline(time.Now().Add(time.Minute)))
	return &visitor{Conn: c}
}

func (v *visitor) say(t testing.TB, s string) {
	_, err := io.WriteString(v, s)
	check(t, err)
}

// answer reads a response's head.
func (v *visitor) answer(t testing.TB, status int) {
	if v.r == nil {
		v.r = bufio.NewReaderSize(v, 512)
	}
	for first := true; ; first = false {
		line, err := v.r.ReadString('\n')
		check(t, err)
		if first && !strings.HasPrefix(line, "HTTP/1.1 "+strconv.Itoa(status)) {
			t.Fatalf("%q, want status %d", line, status)
		}
		if line == "\r\n" {
			return
		}
	}
}

// inside opens a tunnel and finishes TLS in it.
func (b *bed) inside() *visitor {
	v := b.visit()
	v.say(b.t, "CONNECT "+b.target("allowed.test")+" HTTP/1.1\r\n\r\n")
	v.answer(b.t, http.StatusOK)
	secure := tls.Client(v.Conn, &tls.Config{RootCAs: b.authority, ServerName: "allowed.test", NextProtos: []string{protoH1}})
	check(b.t, secure.Handshake())
	return &visitor{Conn: secure}
}

func (b *bed) insideSocket() *visitor {
	v := b.inside()
	v.say(b.t, "GET / HTTP/1.1\r\nHost: "+b.target("allowed.test")+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	v.answer(b.t, http.StatusSwitchingProtocols)
	return v
}

// insideH2 has an answer begin over HTTP/2.
func (b *bed) insideH2(path string) *h2Conn {
	v := b.visit()
	v.say(b.t, "CONNECT "+b.target("allowed.test")+" HTTP/1.1\r\n\r\n")
	v.answer(b.t, http.StatusOK)
	h := b.h2Over(v.Conn, "allowed.test")
	h.begin(1, true, "GET", b.target("allowed.test"), path)
	for {
		f, err := h.ReadFrame()
		check(b.t, err)
		if f.Header().Type == http2.FrameHeaders {
			return h
		}
	}
}

// abortKind is a way to leave.
type abortKind struct {
	name    string
	handler http.HandlerFunc
	abort   func(b *bed)
}

func abortKinds() []abortKind {
	stubborn := rawSocket(func(_ net.Conn, r io.Reader) { _, _ = io.Copy(io.Discard, r) })
	slow := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/stream") {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = io.Copy(io.Discard, r.Body) // net/http watches the connection only afterwards
		<-r.Context().Done()
	}
	saying := func(inside bool, text func(b *bed) string) func(*bed) {
		return func(b *bed) {
			open := b.visit
			if inside {
				open = b.inside
			}
			v := open()
			v.say(b.t, text(b))
			v.Close()
		}
	}
	head := func(b *bed, line string) string {
		return line + " HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\n"
	}
	return []abortKind{
		{"before a head", slow, saying(false, func(*bed) string { return "" })},
		{"within a head", slow, saying(false, func(*bed) string { return "GET http://allo" })},
		{"after CONNECT", slow, saying(false, func(b *bed) string { return "CONNECT " + b.target("allowed.test") + " HTTP/1.1\r\n\r\n" })},
		{"waiting for an answer", slow, saying(true, func(b *bed) string { return head(b, "GET /") + "\r\n" })},
		{"within an answer", slow, func(b *bed) {
			v := b.inside()
			v.say(b.t, head(b, "GET /stream")+"\r\n")
			v.answer(b.t, http.StatusOK)
			v.Close()
		}},
		{"within a request body", slow, saying(true, func(b *bed) string { return head(b, "POST /") + "Content-Length: 100\r\n\r\nabc" })},
		{"HTTP/2, within an answer", slow, func(b *bed) {
			h := b.insideH2("/stream")
			_ = h.Close()
		}},
		{"HTTP/2, a stream", slow, func(b *bed) {
			h := b.insideH2("/stream")
			check(b.t, h.WriteRSTStream(1, http2.ErrCodeCancel))
			h.begin(3, true, "GET", b.target("allowed.test"), "/stream")
			_ = h.Close()
		}},
		{"WebSocket", stubborn, func(b *bed) {
			v := b.insideSocket()
			v.say(b.t, string(maskedFrame(opText, "x")))
			v.Close()
		}},
		{"WebSocket, within a frame", stubborn, func(b *bed) {
			v := b.insideSocket()
			v.say(b.t, string(maskedFrame(opText, "half of a message")[:9]))
			v.Close()
		}},
		{"WebSocket, reset", stubborn, func(b *bed) {
			v := b.insideSocket()
			raw := v.Conn.(*tls.Conn).NetConn()
			_ = raw.(*net.TCPConn).SetLinger(0)
			_ = raw.Close()
		}},
		{"WebSocket, cut for a secret", stubborn, func(b *bed) {
			v := b.insideSocket()
			v.say(b.t, string(maskedFrame(opText, foreignToken())))
			_, _ = io.Copy(io.Discard, v)
			v.Close()
		}},
	}
}

// Goroutines, sockets and memory are back at the baseline after clients abort in
// every stage, however the origin behaves.
func TestNothingLeaksOnAborts(t *testing.T) {
	each := abortsEach(t)
	for _, kind := range abortKinds() {
		t.Run(kind.name, func(t *testing.T) {
			b := newBed(t, func(_ *bed, c *bedConfig) {
				c.handler, c.opts.Limits.HalfClosed, c.opts.Log = kind.handler, 100*time.Millisecond, io.Discard
			})
			for range 10 { // pools fill
				kind.abort(b)
			}
			b.quiet()
			before := usedNow(t)
			begun := time.Now()
			for range each {
				kind.abort(b)
			}
			took := time.Since(begun)
			b.quiet()
			settle(t, before.goroutines)
			after := before.settled(t)
			t.Logf("%d times in %.1f s: goroutines %d, then %d; files %d, then %d; heap %d KiB, then %d KiB", each, took.Seconds(),
				before.goroutines, after.goroutines, before.files, after.files, before.heap>>10, after.heap>>10)
		})
	}
}

// used is what a process holds.
type used struct {
	goroutines, files int
	heap              int64
}

func usedNow(t testing.TB) used {
	t.Helper()
	runtime.GC()
	runtime.GC() // what pools held goes in the second round
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := used{goroutines: runtime.NumGoroutine(), heap: int64(m.HeapAlloc)}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil { // nothing to count elsewhere
		u.files = len(entries)
	}
	return u
}

// settled waits until files and memory are back at the baseline too.
func (u used) settled(t testing.TB) used {
	t.Helper()
	const slackFiles, slackHeap = 10, 4 << 20
	var now used
	for end := time.Now().Add(testWait); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if now = usedNow(t); now.files <= u.files+slackFiles && now.heap <= u.heap+slackHeap {
			return now
		}
	}
	t.Fatalf("%+v, before it was %+v", now, u)
	return now
}
