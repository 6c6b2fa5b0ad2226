package egress

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// turnedAwayAtOnce bounds how many connections over the limit get an answer;
// beyond that they are just closed.
const turnedAwayAtOnce = 32

// guestConn is one connection from the guest. It counts against the limit
// until it is closed, also after net/http has handed it over.
type guestConn struct {
	net.Conn
	release sync.Once
	closed  func(*guestConn)
}

// Close implements net.Conn.
func (c *guestConn) Close() error {
	err := c.Conn.Close()
	c.release.Do(func() { c.closed(c) })
	return err
}

// CloseWrite forwards a half-close.
func (c *guestConn) CloseWrite() error { return closeWrite(c.Conn) }

// abort ends the connection so that the client cannot take it for a clean end:
// with a reset, where the end of the stream is all that ends a body.
func (c *guestConn) abort() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// connSet holds every open guest connection and counts the handlers running,
// so that stopping reaches those that net/http no longer knows. The zero value
// is ready to use.
type connSet struct {
	mu       sync.Mutex
	open     map[*guestConn]struct{}
	closed   bool
	handlers atomic.Int64
}

// add returns the count with c, or 0 when the set is closed.
func (s *connSet) add(c *guestConn) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	if s.open == nil {
		s.open = map[*guestConn]struct{}{}
	}
	s.open[c] = struct{}{}
	return len(s.open)
}

func (s *connSet) remove(c *guestConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// wait returns when no handler runs any more, or with ctx.
func (s *connSet) wait(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for s.handlers.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *connSet) closeAll() {
	s.mu.Lock()
	s.closed = true
	var all []*guestConn
	for c := range s.open {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// gate is the listener net/http accepts from: each connection bounded,
// registered and guarded.
type gate struct {
	net.Listener
	proxy *Proxy
}

func newGate(l net.Listener, p *Proxy) *gate { return &gate{Listener: l, proxy: p} }

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	for {
		raw, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &guestConn{Conn: raw, closed: g.proxy.live.remove}
		switch n := g.proxy.live.add(c); {
		case n == 0, n > g.proxy.limits.Connections+turnedAwayAtOnce:
			_ = c.Close()
		case n > g.proxy.limits.Connections:
			go g.proxy.turnAway(c)
		default:
			return newGuard(c, nil, g.proxy.limits.HeadBytes), nil
		}
	}
}

// turnAway answers a connection over the limit without reading from it.
func (p *Proxy) turnAway(c *guestConn) {
	no := unavailable(reasonTooMany, "The bottle has too many connections open.")
	p.record(sidecars.Decision{Time: time.Now()}, no)
	answerRaw(c, no, no.body(sidecars.Decision{}))
	_ = c.Close()
}

// handoff is the listener through which intercepted connections come back to
// the same server.
type handoff struct {
	conns chan net.Conn
	once  sync.Once
	ended chan struct{}
}

func newHandoff() *handoff {
	return &handoff{conns: make(chan net.Conn), ended: make(chan struct{})}
}

// pass gives c to the server; false means that it stops and c is still the
// caller's.
func (h *handoff) pass(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.ended:
		return false
	}
}

// Accept implements net.Listener.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.ended) })
	return nil
}

// Addr implements net.Listener.
func (h *handoff) Addr() net.Addr { return &net.UnixAddr{Name: "intercepted", Net: "unix"} }

// tunnel is one intercepted CONNECT.
type tunnel struct {
	to     authority
	scheme string // https once TLS is spoken in it
}

// tunnelConn is the guest's side of a tunnel before TLS: first what arrived
// with the CONNECT, then the connection.
type tunnelConn struct {
	*guestConn
	early  []byte
	tunnel *tunnel
	// refused is set when what the client said was turned down, for the log.
	refused *refusal
}

// fill waits for the client's first bytes.
func (c *tunnelConn) fill() error {
	if len(c.early) > 0 {
		return nil
	}
	buf := make([]byte, firstRead)
	n, err := c.guestConn.Read(buf)
	if n > 0 {
		c.early = buf[:n]
		return nil
	}
	return err
}

// Read implements net.Conn.
func (c *tunnelConn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	return c.guestConn.Read(p)
}

// session is what a handler knows of the connection its request came on.
type session struct {
	guard  *guard  // nil for HTTP/2
	tunnel *tunnel // nil on the plain side
	raw    *guestConn
}

type sessionKey struct{}

// withSession serves http.Server.ConnContext.
func withSession(ctx context.Context, c net.Conn) context.Context {
	var s session
	if g, ok := c.(*guard); ok {
		s.guard, s.tunnel, c = g, g.tunnel, g.Conn
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	switch c := c.(type) {
	case *tunnelConn:
		s.tunnel, s.raw = c.tunnel, c.guestConn
	case *guestConn:
		s.raw = c
	}
	return context.WithValue(ctx, sessionKey{}, s)
}

func sessionOf(r *http.Request) session {
	s, _ := r.Context().Value(sessionKey{}).(session)
	return s
}

// answerRaw answers on a connection that net/http does not serve, and waits a
// moment for the client to read it.
func answerRaw(c *guestConn, no *refusal, body []byte) {
	_ = c.SetDeadline(time.Now().Add(lingerTime))
	head := "HTTP/1.1 " + strconv.Itoa(no.Status) + " " + http.StatusText(no.Status) +
		"\r\nContent-Type: application/json\r\n" + headerRefused + ": " + no.Reason +
		"\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	if _, err := io.WriteString(c, head+string(body)); err != nil {
		return
	}
	_ = c.CloseWrite()
	_, _ = io.CopyN(io.Discard, c, lingerBytes)
}
