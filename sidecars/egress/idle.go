package egress

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// idleConns closes connections on which no request runs for a while. It stands in
// for http.Server.IdleTimeout over HTTP/2: the timer of that is set once more when
// a connection breaks off within a request (Go 1.26), and would keep all there was
// to the connection for as long as it runs. The zero value has no limit.
type idleConns struct {
	limit time.Duration

	mu     sync.Mutex
	timers map[net.Conn]*time.Timer
}

// changed serves http.Server.ConnState.
func (i *idleConns) changed(c net.Conn, state http.ConnState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if t := i.timers[c]; t != nil {
		t.Stop()
		delete(i.timers, c)
	}
	if state != http.StateIdle || i.limit <= 0 {
		return
	}
	if i.timers == nil {
		i.timers = map[net.Conn]*time.Timer{}
	}
	i.timers[c] = time.AfterFunc(i.limit, func() { _ = c.Close() })
}
