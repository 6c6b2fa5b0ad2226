package selftest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// callPort is the discard service's: what arrives there is thrown away, and
	// the address has to be resolved all the same.
	callPort = 9
	// callsPerSocket stays below what a socket may have waiting for addresses
	// that nobody answers for.
	callsPerSocket = 128
	callTries      = 8
	// maxAnswered bounds what is kept of those who answer; one is too many.
	maxAnswered = 2 * subnetSize
	// maxHeard bounds what is read for it, errors of the calls among it.
	maxHeard = 1 << 16
)

// calls is everybody that was called on the links, and who called back.
type calls struct {
	once sync.Once
	err  error

	mu       sync.Mutex
	answered []neighbour
}

func (c *calls) heard(n neighbour) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.answered) < maxAnswered && !slices.Contains(c.answered, n) {
		c.answered = append(c.answered, n)
	}
}

// callAll makes every machine on the guest's own links give itself away, once
// for all checks: a datagram to each IPv4 address makes this kernel ask for its
// hardware's, and who is there has to answer that, whatever its firewall says.
// IPv6 has too many addresses for it; there all nodes are called at once.
func (n *network) callAll(ctx context.Context, s surroundings) error {
	n.calls.once.Do(func() {
		for _, l := range s.links {
			if n.calls.err = n.call4(ctx, l); n.calls.err != nil {
				return
			}
			n.call6(ctx, l)
		}
	})
	return n.calls.err
}

func (n *network) call4(ctx context.Context, l link) error {
	for _, own := range l.own {
		if !own.Addr().Is4() {
			continue
		}
		hosts, ok := hostsOf(own)
		switch {
		case !ok:
			return fmt.Errorf("the subnet %s on %s is too large to be searched for other machines; a bottle's has at most %d addresses", own.Masked(), l.name, subnetSize)
		case len(l.mac) == 0 && len(hosts) > 0:
			return fmt.Errorf("%s has no hardware address, so nobody on it can be found", l.name)
		}
		for some := range slices.Chunk(hosts, callsPerSocket) {
			if err := n.callSome(ctx, own.Addr(), some, l.name); err != nil {
				return err
			}
		}
	}
	return nil
}

// callSome calls hosts from one socket and listens there until ctx ends.
func (n *network) callSome(ctx context.Context, own netip.Addr, hosts []netip.Addr, name string) error {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(own, 0)))
	if err != nil {
		return fmt.Errorf("call the machines on %s: %w", name, err)
	}
	if err := conn.SetDeadline(deadline(ctx)); err != nil {
		return errors.Join(err, conn.Close())
	}
	err = reportErrors(conn)
	for _, host := range hosts {
		if err == nil {
			err = callOne(conn, netip.AddrPortFrom(host, callPort))
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("call the machines on %s: %w", name, err), conn.Close())
	}
	go n.hear(conn, name)
	return nil
}

// reportErrors has the kernel say when its table of neighbours is full, instead
// of dropping the datagram: a full one would hide everybody.
func reportErrors(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var optErr error
	err = raw.Control(func(fd uintptr) { optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1) })
	return errors.Join(err, optErr)
}

// callOne calls one address. What others answered to earlier calls is reported
// by the next one, which is then not made: it is made again.
func callOne(conn *net.UDPConn, to netip.AddrPort) error {
	var err error
	for range callTries {
		_, err = conn.WriteToUDPAddrPort([]byte("\n"), to)
		if !refused(err) && !shut(err) {
			break
		}
	}
	if err == nil || shut(err) { // every time: nobody can be reached there
		return nil
	}
	return fmt.Errorf("%s: %w", to.Addr(), err)
}

// call6 sends one echo request to all nodes of a link, where the kernel lets
// unprivileged programs do so; elsewhere those are known that this kernel met
// for other reasons.
func (n *network) call6(ctx context.Context, l link) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), "ping")
	conn, err := net.FilePacketConn(f)
	_ = f.Close()
	if err != nil {
		return
	}
	const echoRequest = 128 // the kernel fills in identity and checksum
	all := &net.UDPAddr{IP: net.IPv6linklocalallnodes, Zone: l.name}
	err = conn.SetDeadline(deadline(ctx))
	if _, writeErr := conn.WriteTo([]byte{echoRequest, 0, 0, 0, 0, 0, 0, 1}, all); err != nil || writeErr != nil {
		_ = conn.Close()
		return
	}
	go n.hear(conn, l.name)
}

// hear notes who answers on conn.
func (n *network) hear(conn net.PacketConn, name string) {
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 64)
	for range maxHeard {
		_, from, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return
		}
		if at, ok := from.(*net.UDPAddr); ok {
			addr := at.AddrPort().Addr().Unmap()
			n.calls.heard(neighbour{addr: onLink(addr.WithZone(""), name), link: name})
		}
	}
}

// met calls everybody and returns who is there when the given share of the time
// left has passed: a machine needs a moment to answer.
func (n *network) met(ctx context.Context, s surroundings, share float64) ([]neighbour, error) {
	if err := n.callAll(ctx, s); err != nil {
		return nil, err
	}
	pause(ctx, share)
	found, err := neighbours()
	if err != nil {
		return nil, err
	}
	n.calls.mu.Lock()
	defer n.calls.mu.Unlock()
	for _, a := range n.calls.answered {
		// Who answered is usually in a table too, with its hardware's address.
		if !slices.ContainsFunc(found, func(f neighbour) bool { return f.addr == a.addr }) {
			found = append(found, a)
		}
	}
	return found, nil
}

// pause waits for a share of the time left.
func pause(ctx context.Context, share float64) {
	wait, cancel := context.WithTimeout(ctx, time.Duration(share*float64(time.Until(deadline(ctx)))))
	defer cancel()
	<-wait.Done()
}

// peers looks for machines beside the guest.
func (n *network) peers(ctx context.Context) (string, error) {
	s, err := n.around()
	if err != nil {
		return "", err
	}
	found, err := n.met(ctx, s, 0.7)
	if err != nil {
		return "", err
	}
	if others := strangers(found, s.friends()); len(others) > 0 {
		return "", fmt.Errorf("other machines are on this guest's network: %s", join(others))
	}
	return fmt.Sprintf("nobody but %d known machines answered", len(found)), nil
}
