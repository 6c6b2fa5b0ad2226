package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// dialTimeout bounds a relay's connection to its other end.
const dialTimeout = 10 * time.Second

// dialer connects a relay to its other end.
type dialer func(ctx context.Context) (net.Conn, error)

// relays are the listeners of a container's helper.
type relays struct {
	listeners []net.Listener
	rootfs    string // set once, before anything is accepted for a guest's socket
	ready     chan struct{}
}

// openRelays opens every listener that the container needs, or none.
func (e *Engine) openRelays(c *container, r *running) (*relays, error) {
	all := &relays{ready: make(chan struct{})}
	if err := e.fill(all, c, r); err != nil {
		all.close()
		return nil, err
	}
	return all, nil
}

func (e *Engine) fill(all *relays, c *container, r *running) error {
	for i, relay := range c.Relays {
		if err := all.intoGuest(e.relayPath(c.Config.ID, i), relay.Host); err != nil {
			return err
		}
	}
	for _, s := range c.Config.PublishedSockets {
		if err := all.outOfGuest(s); err != nil {
			return err
		}
	}
	for _, p := range c.Config.PublishedPorts {
		if len(r.Networks) == 0 {
			return Failf(InvalidState, "ports cannot be published without a network")
		}
		if err := all.publish(p, r.Networks[0]); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) relayPath(id string, i int) string {
	return e.path("sockets", short(id)+"-"+strconv.Itoa(i))
}

// intoGuest relays each connection to a socket of the guest to the host's. The
// guest's end has the mode of the host's.
func (rs *relays) intoGuest(guestEnd, host string) error {
	info, err := os.Stat(host)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(guestEnd); err != nil {
		return err
	}
	listener, err := listenUnix(guestEnd)
	if err != nil {
		return err
	}
	rs.serve(listener, func(ctx context.Context) (net.Conn, error) { return dialUnix(ctx, host) })
	return os.Chmod(guestEnd, info.Mode().Perm())
}

// outOfGuest relays each connection at a host path to a socket on the guest's
// root file system: what lies on a mount is not found.
func (rs *relays) outOfGuest(s shape.Socket) error {
	if err := os.MkdirAll(filepath.Dir(s.HostPath), 0o755); err != nil {
		return err
	}
	listener, err := listenUnix(s.HostPath)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.HostPath, err)
	}
	rs.serve(listener, func(ctx context.Context) (net.Conn, error) {
		select {
		case <-rs.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		file, err := openIn(rs.rootfs, s.ContainerPath, unix.O_PATH, 0)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		var d net.Dialer
		return d.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(int(file.Fd())))
	})
	return nil
}

// publish relays host ports to the guest's first address.
func (rs *relays) publish(p shape.Port, first shape.Attachment) error {
	if p.Proto != "tcp" {
		return Failf(Unsupported, "the stand-in publishes TCP ports only")
	}
	guest, _, err := net.ParseCIDR(first.IPv4Address)
	if err != nil {
		return err
	}
	for i := range p.Count {
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort(p.HostAddress, strconv.Itoa(p.HostPort+i)))
		if err != nil {
			return err
		}
		target := net.JoinHostPort(guest.String(), strconv.Itoa(p.ContainerPort+i))
		rs.serve(listener, func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", target)
		})
	}
	return nil
}

// inDirectory calls fn with a short name for a path: a socket's may not be long.
func inDirectory(name string, fn func(short string) error) error {
	dir, err := os.OpenFile(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return fn(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), path.Base(name)))
}

func listenUnix(name string) (net.Listener, error) {
	var listener *net.UnixListener
	err := inDirectory(name, func(short string) (err error) {
		listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	// The program leaves its sockets behind; whoever comes next removes them.
	listener.SetUnlinkOnClose(false)
	return listener, nil
}

func dialUnix(ctx context.Context, name string) (conn net.Conn, err error) {
	err = inDirectory(name, func(short string) (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, "unix", short)
		return err
	})
	return conn, err
}

func (rs *relays) serve(listener net.Listener, dial dialer) {
	rs.listeners = append(rs.listeners, listener)
	go func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				time.Sleep(10 * time.Millisecond) // out of descriptors: they come back
				continue
			}
			go relay(conn, dial)
		}
	}()
}

func (rs *relays) close() {
	for _, listener := range rs.listeners {
		_ = listener.Close()
	}
}

// relay carries bytes both ways until both ends are done.
func relay(near net.Conn, dial dialer) {
	defer func() { _ = near.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	far, err := dial(ctx)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	var both sync.WaitGroup
	both.Go(func() { carry(far, near) })
	both.Go(func() { carry(near, far) })
	both.Wait()
}

// carry copies until the end and passes the end on; an error ends both ways.
func carry(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = to.Close()
		_ = from.Close()
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the other side may be gone
	}
}
