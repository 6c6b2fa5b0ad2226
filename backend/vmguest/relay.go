package vmguest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Bounds of a relay.
const (
	// maxRelayed is how many connections a relay carries at once. The guest's
	// programs open them, so that one more is closed at once.
	maxRelayed = 1024
	// maxDials is how many connections may be on their way to the socket at once:
	// an engine's relay was seen to end for good at a full queue.
	maxDials = 16
	// relayDial bounds the wait for a socket whose queue is full.
	relayDial = 5 * time.Second
	// acceptPause is the wait after an accept that failed for want of
	// descriptors or memory.
	acceptPause = 20 * time.Millisecond
)

// Relay carries every connection of listener to the UNIX socket at path, byte
// by byte and with each side's half-close, until ctx ends; then it closes the
// listener and all connections and returns nil. A client that the socket
// refuses is closed at once.
func Relay(ctx context.Context, listener net.Listener, path string) error {
	return relay{path: path, limit: maxRelayed, dials: make(chan struct{}, maxDials)}.serve(ctx, listener)
}

type relay struct {
	path  string
	limit int
	dials chan struct{} // nil = as many as come
}

func (r relay) serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	release := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer release()
	slots := make(chan struct{}, r.limit)
	for {
		client, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = client.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("relay to %s: %w", r.path, err)
		case err != nil:
			pause(ctx, acceptPause)
			continue
		}
		select {
		case slots <- struct{}{}:
			wg.Go(func() {
				defer func() { <-slots }()
				r.carry(ctx, client)
			})
		default:
			_ = client.Close()
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// carry serves one client.
func (r relay) carry(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := r.dial(ctx)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	// Closing both ends the copies below, when ctx ends or one direction breaks.
	sever := func() { _, _ = client.Close(), server.Close() }
	release := context.AfterFunc(ctx, sever)
	defer release()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{server, client}, {client, server}} {
		wg.Go(func() {
			if err := oneWay(way[0], way[1]); err != nil {
				sever()
			}
		})
	}
	wg.Wait()
}

// dial reaches the socket, a few connections at a time.
func (r relay) dial(ctx context.Context) (net.Conn, error) {
	if r.dials != nil {
		select {
		case r.dials <- struct{}{}:
			defer func() { <-r.dials }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	dialer := net.Dialer{Timeout: relayDial}
	return dialer.DialContext(ctx, "unix", r.path)
}

// oneWay copies until from ends, and ends to in that direction alone. Between a
// TCP and a UNIX socket io.Copy has the kernel move the bytes (splice).
func oneWay(to, from net.Conn) error {
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return to.Close()
}
