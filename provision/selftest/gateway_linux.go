package selftest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// hostPorts are those that hosts have open: remote login and desktops, web and
// file and print servers, engines, databases, caches, development servers and
// models. udpPorts are some that refuse aloud where nobody listens.
var (
	hostPorts = []int{22, 53, 80, 88, 443, 445, 548, 631, 2375, 3000, 3283, 3306, 5000, 5432, 5900, 6379, 7000, 8000, 8080, 8443, 9000, 9090, 11434}
	udpPorts  = []int{123, 137, 500}
)

const (
	dnsPort  = 53
	mdnsPort = 5353
	// mdnsQuestion asks every responder what it serves.
	mdnsQuestion = "_services._dns-sd._udp.local"
)

// gateway tries the host: on a bottle's network it is the gateway. A refusal is
// red as well: a service may listen there later, and it would be reached.
func (n *network) gateway(ctx context.Context) (string, error) {
	s, err := n.around()
	if err != nil {
		return "", err
	}
	return n.mute(ctx, s.gateways)
}

// mute demands that hosts neither accept nor refuse on any of the usual ports.
func (n *network) mute(ctx context.Context, hosts []netip.Addr) (string, error) {
	names := texts(hosts)
	all := append(tries("tcp", names, hostPorts...), tries("udp", names, udpPorts...)...)
	met := n.meet(ctx, all)
	if len(met) > 0 {
		return "", errors.New(describe(met))
	}
	return fmt.Sprintf("%d ports each of %d addresses are silent", len(hostPorts)+len(udpPorts), len(hosts)), nil
}

func texts(addrs []netip.Addr) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

// encounter is one attempt that met somebody, or that proves nothing.
type encounter struct {
	try
	how string // "accepted", "refused", or what went wrong
}

// meet makes all attempts at once and returns those that are not closed.
func (n *network) meet(ctx context.Context, all []try) []encounter {
	out := make([]encounter, len(all))
	var wg sync.WaitGroup
	for i, t := range all {
		wg.Go(func() {
			out[i].try = t
			switch err := n.attempt(ctx, t); {
			case err == nil:
				out[i].how = "accepted"
			case refused(err):
				out[i].how = "refused"
			case !shut(err) && !silent(err):
				out[i].how = err.Error()
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(out, func(e encounter) bool { return e.how == "" })
}

// describe groups what was met by host, and says of each port what it did. What
// accepted comes first: the text may be cut.
func describe(met []encounter) string {
	var hosts []string
	ports := map[string]map[string][]string{}
	for _, m := range met {
		host, port, err := net.SplitHostPort(m.where)
		if err != nil {
			host, port = m.where, "?"
		}
		if m.proto != "tcp" {
			port += "/" + m.proto
		}
		if ports[host] == nil {
			hosts = append(hosts, host)
			ports[host] = map[string][]string{}
		}
		ports[host][m.how] = append(ports[host][m.how], port)
	}
	var out []string
	for _, host := range hosts {
		var hows []string
		for how := range ports[host] {
			hows = append(hows, how)
		}
		slices.Sort(hows)
		text := host
		for _, how := range hows {
			text += " " + how + " " + strings.Join(ports[host][how], " ") + ","
		}
		out = append(out, strings.TrimSuffix(text, ","))
	}
	return strings.Join(out, "; ")
}

// resolver asks the gateways for names. Any answer carries data out, also one
// that says no; that nobody listens is the gateway's matter, not the resolver's.
func (n *network) resolver(ctx context.Context) (string, error) {
	s, err := n.around()
	if err != nil {
		return "", err
	}
	names := texts(s.gateways)
	all := append(tries("udp", names, dnsPort), tries("tcp", names, dnsPort)...)
	var mdns string
	var wg sync.WaitGroup
	wg.Go(func() { mdns = n.multicast(ctx, s) })
	err = together(all, func(t try) error { return n.unresolved(ctx, t) })
	wg.Wait()
	if mdns != "" {
		err = errors.Join(err, errors.New(mdns))
	}
	if err != nil {
		return "", oneLine(err)
	}
	return fmt.Sprintf("%d gateways resolve nothing", len(s.gateways)), nil
}

// unresolved returns nil when nobody at an address answers a DNS question.
func (n *network) unresolved(ctx context.Context, t try) error {
	ctx, leave, err := n.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	conn, err := (&net.Dialer{}).DialContext(ctx, t.proto, t.where)
	if err == nil {
		defer func() { _ = conn.Close() }()
		ask := exchange
		if t.proto == "tcp" {
			ask = exchangeStream
		}
		err = ask(ctx, conn, n.spec.UnlistedHost)
	}
	switch {
	case err == nil:
		return errors.New("it answered a DNS question")
	case refused(err), shut(err), silent(err), errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// exchangeStream is exchange over a connection, where a length goes before
// every message.
func exchangeStream(ctx context.Context, conn net.Conn, host string) error {
	if err := conn.SetDeadline(deadline(ctx)); err != nil {
		return err
	}
	q := question(host)
	length := binary.BigEndian.AppendUint16(nil, uint16(len(q))) //nolint:gosec // a name is short
	if _, err := conn.Write(append(length, q...)); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	return err
}

// multicast asks the name services of the link, which answer without being
// addressed. It returns who did, "" when nobody.
func (n *network) multicast(ctx context.Context, s surroundings) string {
	var conns []net.PacketConn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for _, l := range s.links {
		for _, own := range l.own {
			group := netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, 251}), mdnsPort)
			if own.Addr().Is6() {
				group = netip.AddrPortFrom(netip.MustParseAddr("ff02::fb").WithZone(l.name), mdnsPort)
			}
			from := netip.AddrPortFrom(onLink(own.Addr(), l.name), 0)
			conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(from))
			if err != nil {
				continue // an address that is not ready asks nobody
			}
			conns = append(conns, conn)
			// One that cannot be sent cannot be answered.
			_, _ = conn.WriteToUDPAddrPort(question(mdnsQuestion), group)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, n.patience())
	defer cancel()
	return firstAnswer(ctx, conns)
}

// firstAnswer waits for one answer on any of conns.
func firstAnswer(ctx context.Context, conns []net.PacketConn) string {
	answers := make([]string, len(conns))
	var wg sync.WaitGroup
	for i, conn := range conns {
		if conn.SetDeadline(deadline(ctx)) != nil {
			continue
		}
		wg.Go(func() {
			if _, from, err := conn.ReadFrom(make([]byte, 16)); err == nil {
				answers[i] = from.String() + " answered a multicast DNS question on port " + strconv.Itoa(mdnsPort)
			}
		})
	}
	wg.Wait()
	return strings.Join(slices.DeleteFunc(answers, func(s string) bool { return s == "" }), "; ")
}
