package selftest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// canaries6 are the IPv6 addresses of well-known IPv4 ones.
var canaries6 = map[string]string{
	"1.1.1.1": "2606:4700:4700::1111",
	"1.0.0.1": "2606:4700:4700::1001",
	"8.8.8.8": "2001:4860:4860::8888",
	"9.9.9.9": "2620:fe::fe",
}

// learnShare is how much of the time is given to learning who is around, before
// what was learnt is tried.
const learnShare = 0.35

// routerLinks tries the gateways at the IPv6 addresses they have on the link:
// as next hops of routes, as they were met, and as a machine makes them from its
// hardware's. A host whose IPv4 address is silent often answers there.
func (n *network) routerLinks(ctx context.Context) (int, error) {
	s, err := n.around()
	if err != nil {
		return 0, err
	}
	found, err := n.met(ctx, s, learnShare)
	if err != nil {
		return 0, err
	}
	hosts := aliases(found, s.gateways, linkLocal())
	for _, g := range s.gateways {
		if g.Is6() && g.IsLinkLocalUnicast() && !slices.Contains(hosts, g) {
			hosts = append(hosts, g)
		}
	}
	if len(hosts) > maxGateways {
		return 0, fmt.Errorf("the gateways have %d addresses on the link, more than can be probed", len(hosts))
	}
	_, err = n.mute(ctx, hosts)
	return len(hosts), err
}

func linkLocal() netip.Prefix { return netip.MustParsePrefix("fe80::/64") }

// aliases are the IPv6 addresses within a prefix at which the machines of addrs
// may be, too.
func aliases(found []neighbour, addrs []netip.Addr, within netip.Prefix) []netip.Addr {
	var out []netip.Addr
	add := func(a netip.Addr) {
		if a.IsValid() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	for _, m := range macsOf(found, addrs) {
		add(eui64(onLink(within.Masked().Addr(), m.link), m.mac))
		for _, f := range found {
			if f.mac == m.mac && f.link == m.link && within.Contains(f.addr.WithZone("")) {
				add(f.addr)
			}
		}
	}
	return out
}

// ipv6 tries what lies behind IPv6 routes: the outside under every name the
// canary has there, and a router at the addresses of this guest's own networks.
func (n *network) ipv6(ctx context.Context) (string, error) {
	s, err := n.around()
	if err != nil {
		return "", err
	}
	outside := outside6(n.spec)
	all := slices.Concat(tries("tcp", outside, 80, 443), tries("udp", outside, dnsPort), tries("tcp", outside, dnsPort))
	var met []encounter
	var wg sync.WaitGroup
	wg.Go(func() {
		start := time.Now()
		met = n.meet(ctx, all)
		if len(met) == 0 && time.Since(start) < n.patience()/2 {
			// There is no route yet. A router announces itself only when the
			// guest's address is ready: once more, later.
			pause(ctx, 0.5)
			met = n.meet(ctx, all)
		}
	})
	routers, err := n.routerNetworks(ctx, s)
	wg.Wait()
	if len(met) > 0 {
		err = errors.Join(errors.New(describe(met)), err)
	}
	if err != nil {
		return "", oneLine(err)
	}
	return fmt.Sprintf("%d addresses outside and %d of routers are silent", len(outside), routers), nil
}

func (n *network) routerNetworks(ctx context.Context, s surroundings) (int, error) {
	found, err := n.met(ctx, s, learnShare)
	if err != nil {
		return 0, err
	}
	hosts := routers6(s, found)
	if len(hosts) > 2*maxGateways {
		return 0, fmt.Errorf("%d addresses of this guest's networks may be routers, more than can be probed", len(hosts))
	}
	_, err = n.mute(ctx, hosts)
	return len(hosts), err
}

// outside6 are the targets outside: a documentation address, and the canary's
// counterpart, also behind a translating router.
func outside6(spec Spec) []string {
	out := []string{"2001:db8::1"}
	canary, err := netip.ParseAddr(spec.Canary)
	if err != nil {
		return out
	}
	if !canary.Is4() {
		return append(out, canary.String())
	}
	if six, ok := canaries6[canary.String()]; ok {
		out = append(out, six)
	}
	translated := netip.MustParseAddr("64:ff9b::").As16()
	copy(translated[12:], canary.AsSlice())
	return append(out, netip.AddrFrom16(translated).String())
}

// routers6 are the addresses a router may have in the networks of this guest:
// the one that stands for any router, the first, and those of a known gateway.
func routers6(s surroundings, found []neighbour) []netip.Addr {
	var out []netip.Addr
	not := append(s.friends(), netip.Addr{})
	for _, l := range s.links {
		for _, own := range l.own {
			if !own.Addr().Is6() || own.Addr().IsLinkLocalUnicast() || own.Bits() > 126 {
				continue
			}
			for _, a := range append(aliases(found, s.gateways4(), own), own.Masked().Addr(), firstAddress(own)) {
				if !slices.Contains(not, a) {
					out, not = append(out, a), append(not, a)
				}
			}
		}
	}
	return out
}

// serviceTCP are ports that a sidecar might have open besides those of hosts:
// other proxies and the daemons that this bottle was not given.
var serviceTCP = []int{1080, 3128, 9099, 9100, 9101, 9418, 9420}

// sidecarPorts tries the sidecar at everything but what it serves. It is a
// machine of ours, so that it refuses is as good as silence.
func (n *network) sidecarPorts(ctx context.Context) (string, error) {
	s, err := n.around()
	if err != nil {
		return "", err
	}
	found, err := n.met(ctx, s, learnShare)
	if err != nil {
		return "", err
	}
	proxy, _ := n.spec.sidecar()
	ports := slices.DeleteFunc(slices.Concat(hostPorts, serviceTCP), func(port int) bool {
		return port == int(proxy.Port()) || slices.Contains(n.spec.SidecarPorts, port)
	})
	hosts := append(aliases(found, []netip.Addr{s.sidecar}, linkLocal()), s.sidecar)
	if len(hosts) > maxGateways {
		return "", fmt.Errorf("the sidecar has %d addresses on the link, more than can be probed", len(hosts))
	}
	all := append(tries("tcp", texts(hosts), ports...), tries("udp", texts(hosts), dnsPort)...)
	open := slices.DeleteFunc(n.meet(ctx, all), func(e encounter) bool { return e.how == "refused" })
	if len(open) > 0 {
		return "", fmt.Errorf("the sidecar serves more than this bottle's: %s", describe(open))
	}
	return fmt.Sprintf("%d ports each of %d addresses serve nothing", len(ports)+1, len(hosts)), nil
}
