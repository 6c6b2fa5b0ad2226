package egress

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	headBuffer = 2 << 10
	// lingerTime and lingerBytes bound how long a closing connection waits for
	// a client that is still sending, so that it can read the refusal.
	lingerTime  = 300 * time.Millisecond
	lingerBytes = 256 << 10
)

// faultHead stands in for a head that was refused: net/http parses it, runs the
// handler in its turn after earlier responses, and the handler finds the fault.
const faultHead = "GET / HTTP/1.1\r\nHost: " + localHost + "\r\nConnection: close\r\n\r\n"

type guardState int

const (
	inHead guardState = iota
	inSized
	inChunked
	inRaw
	inFault
)

// fault is a refusal found before net/http saw the request.
type fault struct {
	refusal *refusal
	head    head
}

// guard is the connection that net/http reads HTTP/1 from. A head is handed on
// only once it is complete and inspectHead accepts it; bodies are followed
// with the same strictness, so that guard and net/http always agree where the
// next head begins. Read has one caller at a time; the other methods are safe
// to call beside it.
type guard struct {
	net.Conn
	tunnel  *tunnel // nil on the plain side
	maxHead int

	buf     []byte // received, not handed on
	scanned int    // bytes of buf already searched for the end of the head
	ready   int    // bytes of buf that may be handed on
	state   guardState
	remain  int64 // of a sized body
	chunks  chunkReader

	found  atomic.Pointer[fault]   // in a head
	broken atomic.Pointer[refusal] // in the body being read
	sealed atomic.Bool             // nothing more may be read as a request
	linger atomic.Bool             // a client may still be sending: close slowly
}

func newGuard(c net.Conn, t *tunnel, maxHead int) *guard {
	return &guard{Conn: c, tunnel: t, maxHead: maxHead}
}

func (g *guard) impliedPort() int {
	if g.tunnel != nil {
		return g.tunnel.to.Port
	}
	return portHTTP
}

// faultOf returns what was wrong with the head that r stands for, or nil when
// r is a request of its own. With pipelining a fault can be known while the
// request before it is still being served.
func (g *guard) faultOf(r *http.Request) *fault {
	if r.Host != localHost || r.RequestURI != "/" {
		return nil
	}
	return g.found.Load()
}

// seal ends the connection after the response in progress: what the client
// sends from now on is never parsed.
func (g *guard) seal() {
	g.linger.Store(true)
	g.sealed.Store(true)
}

// Read implements net.Conn.
func (g *guard) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if g.ready > 0 {
			n := copy(p, g.buf[:g.ready])
			g.consume(n)
			g.ready -= n
			return n, nil
		}
		if g.sealed.Load() {
			return 0, io.EOF
		}
		switch g.state {
		case inHead:
			if err := g.readHead(); err != nil {
				return 0, err
			}
		case inSized:
			return g.readSized(p)
		case inChunked:
			return g.readChunked(p)
		case inRaw:
			return g.take(p)
		default:
			return 0, io.EOF
		}
	}
}

// take reads what is buffered, else from the connection.
func (g *guard) take(p []byte) (int, error) {
	if len(g.buf) > 0 {
		n := copy(p, g.buf)
		g.consume(n)
		return n, nil
	}
	return g.Conn.Read(p)
}

func (g *guard) consume(n int) {
	rest := copy(g.buf, g.buf[n:])
	g.buf = g.buf[:rest]
	if rest == 0 && cap(g.buf) > headBuffer {
		g.buf = nil // a large head must not stay with an idle connection
	}
}

// readHead fills buf up to the end of a head and judges it.
func (g *guard) readHead() error {
	for {
		end, bareLF := g.findEnd()
		switch {
		case bareLF:
			g.fail(head{}, malformed(reasonHead, "A line of the request head does not end in CR LF."))
			return nil
		case end > g.maxHead, end < 0 && len(g.buf) >= g.maxHead:
			g.fail(head{}, tooLarge("The request head is too large."))
			return nil
		case end >= 0:
			g.judge(end)
			return nil
		}
		if err := g.more(); err != nil {
			if errors.Is(err, io.EOF) && len(g.buf) > 0 {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
}

// findEnd looks for the empty line in what came since the last call.
func (g *guard) findEnd() (end int, bareLF bool) {
	for {
		i := bytes.IndexByte(g.buf[g.scanned:], '\n')
		if i < 0 {
			g.scanned = len(g.buf)
			return -1, false
		}
		i += g.scanned
		g.scanned = i + 1
		if i == 0 || g.buf[i-1] != '\r' {
			return -1, true
		}
		if i == 1 || i >= 3 && g.buf[i-2] == '\n' { // an empty line, also as the first
			return i + 1, false
		}
	}
}

func (g *guard) more() error {
	if len(g.buf) == cap(g.buf) {
		grown := make([]byte, len(g.buf), max(headBuffer, 2*cap(g.buf)))
		copy(grown, g.buf)
		g.buf = grown
	}
	n, err := g.Conn.Read(g.buf[len(g.buf):cap(g.buf)])
	g.buf = g.buf[:len(g.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

func (g *guard) judge(end int) {
	h, no := inspectHead(g.buf[:end], g.impliedPort())
	if no != nil {
		g.fail(h, no)
		return
	}
	g.ready, g.scanned = end, 0
	switch h.framing {
	case sizedBody:
		g.state, g.remain = inSized, h.length
	case chunkedBody:
		g.state, g.chunks = inChunked, chunkReader{}
	case rawBytes:
		g.state = inRaw
	}
}

// fail hands faultHead to net/http in place of what was received.
func (g *guard) fail(h head, no *refusal) {
	g.state = inFault
	g.linger.Store(true)
	g.found.Store(&fault{refusal: no, head: h})
	g.buf = append(g.buf[:0], faultHead...)
	g.ready = len(g.buf)
}

func (g *guard) readSized(p []byte) (int, error) {
	if int64(len(p)) > g.remain {
		p = p[:g.remain]
	}
	n, err := g.take(p)
	if g.remain -= int64(n); g.remain == 0 {
		g.state = inHead
	}
	return n, err
}

// readChunked passes a chunked body on as it stands, following its framing.
func (g *guard) readChunked(p []byte) (int, error) {
	n, err := g.take(p)
	used, no := g.chunks.feed(p[:n])
	if no != nil {
		g.state = inFault
		g.linger.Store(true)
		g.broken.Store(no)
		return 0, no
	}
	if !g.chunks.done() {
		return n, err
	}
	// What follows belongs to the next head and must pass its inspection.
	g.buf = append(append([]byte(nil), p[used:n]...), g.buf...)
	g.state = inHead
	return used, nil
}

// Close implements net.Conn. After a refusal it waits a moment for the client
// to stop sending: closing on unread data would reset the connection and
// destroy the answer on its way.
func (g *guard) Close() error {
	if g.linger.CompareAndSwap(true, false) {
		if half, ok := g.Conn.(closeWriter); ok && half.CloseWrite() == nil {
			_ = g.Conn.SetReadDeadline(time.Now().Add(lingerTime))
			_, _ = io.CopyN(io.Discard, g.Conn, lingerBytes)
		}
	}
	return g.Conn.Close()
}

// CloseWrite forwards a half-close.
func (g *guard) CloseWrite() error { return closeWrite(g.Conn) }

type closeWriter interface{ CloseWrite() error }

func closeWrite(c any) error {
	if half, ok := c.(closeWriter); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}
