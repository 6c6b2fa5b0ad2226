package shim

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// wayTimeout bounds one connection to the host's MCP server. Nobody waits that
// long: a socket of this machine takes a connection at once, or refuses it.
const wayTimeout = 3 * time.Second

// openWay gives the sidecar, when it needs it, a socket on which it may ask for
// connections to the host's MCP server.
func (s *shim) openWay() ([]*os.File, error) {
	if !slices.Contains(s.start.Services, sidecars.Bottles) {
		return nil, nil
	}
	conn, theirs, err := frame.Pair(frame.MaxGuest)
	if err != nil {
		return nil, err
	}
	go lead(conn, s.start.HostSocket)
	return []*os.File{theirs}, nil
}

// lead answers until the sidecar is gone. One connection at a time: the sidecar
// holds what it was given, and it may hold no more than its own limit of files.
func lead(conn *frame.Conn, socket string) {
	defer func() { _ = conn.Close() }()
	for {
		var ask jail.Dial
		if err := conn.Recv(&ask); err != nil {
			return
		}
		if err := answerDial(conn, socket); err != nil {
			return
		}
	}
}

// answerDial tells the sidecar no more than that nobody is there.
func answerDial(conn *frame.Conn, socket string) error {
	f, err := dialHost(socket)
	if err != nil {
		return conn.Send(jail.Done{Error: "nobody listens on the host's socket"})
	}
	defer func() { _ = f.Close() }() // the sidecar's copy stays
	return conn.Send(jail.Done{}, int(f.Fd()))
}

func dialHost(socket string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wayTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // File duplicates it
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("it is no UNIX socket")
	}
	return uc.File()
}
