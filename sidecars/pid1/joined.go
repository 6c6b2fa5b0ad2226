package pid1

import (
	"errors"
	"net"
	"sync"
	"time"
)

// acceptPause is how long a listener rests after an error, such as too many
// open files.
const acceptPause = 5 * time.Millisecond

// joined is several listeners as one, since a proxy serves one.
type joined struct {
	listeners []net.Listener
	accepted  chan accepted
	pause     func() error // accepts nothing more
	ended     chan struct{}
	end       func()
}

type accepted struct {
	conn net.Conn
	err  error
}

func join(listeners []net.Listener) *joined {
	j := &joined{listeners: listeners, accepted: make(chan accepted), ended: make(chan struct{})}
	j.end = sync.OnceFunc(func() { close(j.ended) })
	j.pause = sync.OnceValue(func() error {
		var faults []error
		for _, l := range j.listeners {
			faults = append(faults, l.Close())
		}
		return errors.Join(faults...)
	})
	var accepting sync.WaitGroup
	for _, l := range listeners {
		accepting.Go(func() { j.accept(l) })
	}
	go func() {
		accepting.Wait()
		<-j.ended
		close(j.accepted)
	}()
	return j
}

func (j *joined) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		j.accepted <- accepted{conn, err}
		if err != nil {
			time.Sleep(acceptPause)
		}
	}
}

// Accept implements net.Listener. What was accepted before pause or Close is
// still given out, so that the end of a daemon resets no connection; whoever
// serves calls it until it gives an error. After pause alone it waits.
func (j *joined) Accept() (net.Conn, error) {
	a, ok := <-j.accepted
	if !ok {
		return nil, net.ErrClosed
	}
	return a.conn, a.err
}

// Close implements net.Listener.
func (j *joined) Close() error {
	j.end()
	return j.pause()
}

// Addr implements net.Listener with the first one's.
func (j *joined) Addr() net.Addr { return j.listeners[0].Addr() }
