package bottles

import (
	"net"
	"sync"
)

// bounded gives out a limited number of connections. One more is closed at
// once: waiting, it would hold a descriptor all the same.
type bounded struct {
	net.Listener

	slots chan struct{}
}

func newBounded(l net.Listener, limit int) *bounded {
	return &bounded{Listener: l, slots: make(chan struct{}, limit)}
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case b.slots <- struct{}{}:
			return &slotConn{Conn: conn, release: sync.OnceFunc(func() { <-b.slots })}, nil
		default:
			_ = conn.Close()
		}
	}
}

// slotConn gives its slot back when it is closed.
type slotConn struct {
	net.Conn

	release func()
}

// Close implements net.Conn.
func (c *slotConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
