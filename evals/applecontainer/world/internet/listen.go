package internet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// noted is a listener that writes down every connection: a probe that connects
// and says nothing has already leaked.
type noted struct {
	net.Listener

	log *Log
}

func (l noted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.log.Add(Event{Kind: KindConnect, From: conn.RemoteAddr().String(), To: conn.LocalAddr().String()})
	return conn, nil
}

// listen opens one TCP port on all addresses of both protocols.
func listen(ctx context.Context, port int, log *Log) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return nil, fmt.Errorf("port %d of the fake world cannot be opened: %w", port, err)
	}
	return noted{l, log}, nil
}

// ServeBanner greets every client of the TCP ports with one line and hangs up
// when the client does.
func ServeBanner(ctx context.Context, ports []int, banner string, log *Log) error {
	for _, port := range ports {
		l, err := listen(ctx, port, log)
		if err != nil {
			return err
		}
		go accept(l, func(conn net.Conn) {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = conn.Write([]byte(banner + "\r\n"))
			_, _ = conn.Read(make([]byte, 512))
		})
	}
	return nil
}

func accept(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many connections, or one that ended early
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go serve(conn)
	}
}
