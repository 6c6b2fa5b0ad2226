package internet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ServeUDP answers datagrams to the ports on all addresses by what reply makes
// of them, from the address that was asked; a nil answer is silence.
func ServeUDP(ctx context.Context, ports []int, reply func(packet []byte, from, to string) []byte) error {
	config := net.ListenConfig{Control: wantDestination}
	for _, port := range ports {
		packets, err := config.ListenPacket(ctx, "udp6", "[::]:"+strconv.Itoa(port))
		if err != nil {
			return fmt.Errorf("UDP port %d of the fake world cannot be opened: %w", port, err)
		}
		conn, ok := packets.(*net.UDPConn)
		if !ok {
			return fmt.Errorf("UDP port %d of the fake world is no UDP socket", port)
		}
		go answer(conn, port, reply)
	}
	return nil
}

// wantDestination makes one socket serve both protocols and tell for each
// datagram which of the endless addresses it was for.
func wantDestination(_, _ string, raw syscall.RawConn) error {
	var inner error
	err := raw.Control(func(fd uintptr) {
		inner = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
		)
	})
	return errors.Join(err, inner)
}

func answer(conn *net.UDPConn, port int, reply func([]byte, string, string) []byte) {
	packet, control := make([]byte, 4096), make([]byte, 256)
	for {
		n, controlled, _, from, err := conn.ReadMsgUDPAddrPort(packet, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		info, to := destination(control[:controlled])
		if info == nil {
			continue
		}
		// The socket is of IPv6; its addresses are written as what they are.
		asker := netip.AddrPortFrom(from.Addr().Unmap(), from.Port()).String()
		out := reply(packet[:n], asker, net.JoinHostPort(to, strconv.Itoa(port)))
		if out != nil {
			// Sent with the control message it came with: from that address.
			_, _, _ = conn.WriteMsgUDPAddrPort(out, info, from)
		}
	}
}

// destination finds the packet's destination, and the control message that
// makes it the source of the answer. The interface is left to routing.
func destination(control []byte) ([]byte, string) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, ""
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16 {
			info := unix.Inet6Pktinfo{Addr: [16]byte(m.Data[:16])}
			return unix.PktInfo6(&info), net.IP(m.Data[:16]).String()
		}
	}
	return nil, ""
}
