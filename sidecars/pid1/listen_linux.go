package pid1

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// backlog is how many connections wait while a daemon is restarted.
const backlog = 512

// listen opens the listeners of a daemon: one where the guest comes from, and one
// on loopback for the question whether it serves. The result are descriptors,
// which the init keeps for its life and daemons inherit. They are not os.Files,
// because asking one for its descriptor makes the socket blocking for every
// process that has it.
func listen(ctx context.Context, where place, daemon sidecars.Service, log *slog.Logger) ([]int, error) {
	port := daemon.Port()
	local, err := listenTCP(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)), "lo", log) //nolint:gosec // a port
	if err != nil {
		return nil, err
	}
	var fd int
	if where.device != "" {
		fd, err = listenDevice(ctx, where.device, port, log)
	} else {
		fd, err = listenUnix(where.dir, SocketName(daemon))
	}
	if err != nil {
		_ = unix.Close(local)
		return nil, err
	}
	return []int{fd, local}, nil
}

func listenDevice(ctx context.Context, device string, port int, log *slog.Logger) (int, error) {
	addr, err := awaitAddress(ctx, device)
	if err != nil {
		return -1, err
	}
	return listenTCP(netip.AddrPortFrom(addr, uint16(port)), device, log) //nolint:gosec // a port
}

// awaitAddress waits for the first IPv4 address of an interface.
func awaitAddress(ctx context.Context, device string) (netip.Addr, error) {
	for {
		addr, err := firstIPv4(device)
		if err == nil {
			return addr, nil
		}
		select {
		case <-ctx.Done():
			return netip.Addr{}, fmt.Errorf("wait for interface %s: %w; connect the sidecar to the bottle's network as well", device, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func firstIPv4(device string) (netip.Addr, error) {
	i, err := net.InterfaceByName(device)
	if err != nil {
		return netip.Addr{}, err
	}
	addrs, err := i.Addrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() && !p.Addr().IsUnspecified() {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, errors.New("it has no IPv4 address")
}

// listenTCP listens on one address of one interface. Without the binding to
// the interface a packet for the address would be taken from any of them.
func listenTCP(at netip.AddrPort, device string, log *slog.Logger) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("listen on %s: %w", at, err)
	}
	if err := unix.BindToDevice(fd, device); err != nil {
		// Kernels before 5.7 want a capability for it.
		log.Warn("the listener is not bound to its interface", "address", at.String(), "interface", device, "error", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("listen on %s of interface %s: %w", at, device, err)
	}
	return fd, nil
}

// listenUnix listens on a socket that every user may connect to: the relay in
// the guest is not this user, and the directory is where it is decided who
// gets there.
func listenUnix(dir, name string) (int, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // others must reach the socket
		return -1, fmt.Errorf("make the directory of sockets: %w", err)
	}
	path := filepath.Join(dir, name)
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return -1, fmt.Errorf("listen on %s: something that is no socket is there; remove it", path)
		}
		if err := os.Remove(path); err != nil {
			return -1, fmt.Errorf("remove the socket of an earlier sidecar: %w", err)
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("listen on %s: %w", path, err)
	}
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if err == nil {
		err = os.Chmod(path, 0o666) //nolint:gosec // see above
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", path, err)
	}
	return fd, nil
}
