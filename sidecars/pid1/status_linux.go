package pid1

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// statusSocket is an abstract socket: it needs no writable file system, and
	// nobody can take its name while the init lives.
	statusSocket = "@bottle-mcp/sidecar"
	statusWait   = 2 * time.Second
	maxStatus    = 64 << 10
)

// serveStatus answers every connection with what the init knows, and reads
// nothing. It ends when l is closed.
func serveStatus(l net.Listener, status func() Report) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(acceptPause)
			continue
		}
		// One at a time: whoever asks is root in this machine.
		_ = conn.SetDeadline(time.Now().Add(statusWait))
		_ = json.NewEncoder(conn).Encode(status())
		_ = conn.Close()
	}
}

func listenStatus(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", statusSocket)
	if err != nil {
		return nil, fmt.Errorf("open the status socket: %w; one sidecar runs in this machine already", err)
	}
	return l, nil
}

// askStatus asks the init of this machine.
func askStatus(ctx context.Context) (Report, error) {
	r, _, err := askInit(ctx)
	return r, err
}

// askInit is askStatus and gives the init's process number too.
func askInit(ctx context.Context) (Report, int, error) {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", statusSocket)
	if err != nil {
		return Report{}, 0, fmt.Errorf("ask the sidecar's init: %w", err)
	}
	defer func() { _ = conn.Close() }()
	pid, err := fromUser(conn, os.Geteuid())
	if err != nil {
		return Report{}, 0, fmt.Errorf("ask the sidecar's init: %w", err)
	}
	_ = conn.SetDeadline(time.Now().Add(statusWait))
	var r Report
	if err := json.NewDecoder(io.LimitReader(conn, maxStatus)).Decode(&r); err != nil {
		return Report{}, 0, fmt.Errorf("ask the sidecar's init: %w", err)
	}
	return r, pid, nil
}

// fromUser refuses a socket that somebody else listens on, and tells which
// process does.
func fromUser(conn net.Conn, uid int) (pid int, err error) {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("it is no UNIX socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	cerr := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(cerr, err); err != nil {
		return 0, err
	}
	if int(peer.Uid) != uid {
		return 0, fmt.Errorf("user %d listens on its socket, not user %d", peer.Uid, uid)
	}
	return int(peer.Pid), nil
}
