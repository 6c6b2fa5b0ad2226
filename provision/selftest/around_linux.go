package selftest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxGateways and maxLinks bound what is around a guest, and with it how
	// many attempts a run makes at once. A bottle has one of each.
	maxGateways = 8
	maxLinks    = 4
	// maxNeighbours bounds what is read of a neighbour table, full for the
	// largest subnet that is searched.
	maxNeighbours = 1 << 20
	// settleTime allows for what a kernel takes to claim an address: a random
	// part of a second, and one for the answer.
	settleTime = 2500 * time.Millisecond
	settlePoll = 20 * time.Millisecond
)

// link is an interface that is up and leads somewhere.
type link struct {
	index int
	name  string
	mac   net.HardwareAddr
	own   []netip.Prefix // addresses of this guest with their subnets
}

// surroundings are what a guest with a network has around it.
type surroundings struct {
	links []link
	// gateways are the next hops of all routes, and the address a router
	// usually has where an IPv4 subnet has no route through one. Neither this
	// guest nor its sidecar is among them.
	gateways []netip.Addr
	sidecar  netip.Addr // the zero value where it is not beside this guest
}

// friends are the machines that may be beside a guest.
func (s surroundings) friends() []netip.Addr {
	out := slices.Clone(s.gateways)
	if s.sidecar.IsValid() {
		out = append(out, s.sidecar)
	}
	for _, l := range s.links {
		for _, p := range l.own {
			out = append(out, onLink(p.Addr(), l.name))
		}
	}
	return out
}

// gateways4 are the gateways that can be found by the IPv4 neighbour table.
func (s surroundings) gateways4() []netip.Addr {
	return slices.DeleteFunc(slices.Clone(s.gateways), netip.Addr.Is6)
}

func look(spec Spec) (surroundings, error) {
	var s surroundings
	if at, beside := spec.sidecar(); beside {
		s.sidecar = at.Addr()
	}
	waiting, err := tentative()
	if err == nil && len(waiting) > 0 {
		err = fmt.Errorf("after %s this guest's address %s is still not ready, so nothing could be tried from it; launch again", settleTime, waiting[0])
	}
	if err != nil {
		return s, err
	}
	if s.links, err = upLinks(); err != nil {
		return s, err
	}
	hops, err := nextHops()
	if err != nil {
		return s, err
	}
	mine := s.friends()
	add := func(a netip.Addr) {
		if a.IsValid() && !slices.Contains(mine, a) && !slices.Contains(s.gateways, a) {
			s.gateways = append(s.gateways, a)
		}
	}
	for _, h := range hops {
		add(h.addr)
	}
	for _, l := range s.links {
		routed := slices.ContainsFunc(hops, func(h neighbour) bool { return h.link == l.name && h.addr.Is4() })
		for _, p := range l.own {
			if p.Addr().Is4() && !routed {
				add(firstAddress(p))
			}
		}
	}
	if len(s.gateways) > maxGateways || len(s.links) > maxLinks {
		return s, fmt.Errorf("there are %d gateways and %d interfaces: more than a bottle has, and more than can be probed", len(s.gateways), len(s.links))
	}
	return s, nil
}

// settle waits until the guest's addresses are ready. A guest that has just
// started is still asking whether somebody else has them.
func settle(ctx context.Context, spec Spec) {
	if !spec.Network {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for {
		// An error is found again by the checks, which report it.
		if waiting, err := tentative(); err != nil || len(waiting) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func tentative() ([]netip.Addr, error) {
	text, err := readWhole("/proc/net/if_inet6")
	if errors.Is(err, unix.ENOENT) {
		return nil, nil // this kernel has no such protocol
	}
	if err != nil {
		return nil, err
	}
	waiting, err := parseTentative(text)
	if err != nil {
		return nil, fmt.Errorf("read /proc/net/if_inet6: %w", err)
	}
	return waiting, nil
}

// upLinks lists the interfaces that are up, but loopback.
func upLinks() ([]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	var out []link
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		l := link{index: i.Index, name: i.Name, mac: i.HardwareAddr}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("list the addresses of %s: %w", i.Name, err)
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				l.own = append(l.own, p)
			}
		}
		out = append(out, l)
	}
	return out, nil
}

func nextHops() ([]neighbour, error) {
	var out []neighbour
	for _, table := range []struct {
		path  string
		parse func(string) ([]neighbour, error)
	}{{"/proc/net/route", parseGateways4}, {"/proc/net/ipv6_route", parseGateways6}} {
		text, err := readWhole(table.path)
		if errors.Is(err, unix.ENOENT) {
			continue // this kernel has no such protocol
		}
		if err != nil {
			return nil, err
		}
		hops, err := table.parse(text)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", table.path, err)
		}
		out = append(out, hops...)
	}
	return out, nil
}

// readWhole reads a table of the kernel. Half of one would prove nothing.
func readWhole(path string) (string, error) {
	text, err := readUpTo(path, maxNeighbours+1)
	if err == nil && len(text) > maxNeighbours {
		return "", fmt.Errorf("%s is larger than %d bytes", path, maxNeighbours)
	}
	return text, err
}

// neighbours reads who has answered on the links so far.
func neighbours() ([]neighbour, error) {
	text, err := readWhole("/proc/net/arp")
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	out, err := parseARP(text)
	if err != nil {
		return nil, fmt.Errorf("read /proc/net/arp: %w", err)
	}
	six, err := neighbours6()
	return append(out, six...), err
}

func neighbours6() ([]neighbour, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	links := map[int]string{}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			links[i.Index] = i.Name
		}
	}
	data, err := syscall.NetlinkRIB(unix.RTM_GETNEIGH, unix.AF_INET6)
	if err != nil {
		return nil, fmt.Errorf("list the IPv6 neighbours: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(data)
	if err != nil {
		return nil, fmt.Errorf("list the IPv6 neighbours: %w", err)
	}
	var out []neighbour
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWNEIGH {
			continue
		}
		if n, ok := parseNeigh(m.Data, links); ok {
			out = append(out, n)
		}
	}
	return out, nil
}
