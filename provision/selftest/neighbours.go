package selftest

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// neighbour is a machine on a link that answered when its address was called.
type neighbour struct {
	addr netip.Addr // link-local ones with their zone
	mac  string     // "" = not known
	link string
}

func (n neighbour) String() string {
	if n.mac == "" {
		return n.addr.String()
	}
	return n.addr.String() + " (" + n.mac + ")"
}

func join(list []neighbour) string {
	var out []string
	for _, n := range list {
		out = append(out, n.String())
	}
	return strings.Join(out, ", ")
}

// arpComplete is the flag of an entry whose machine has answered.
const arpComplete = 0x2

// parseARP reads /proc/net/arp and returns the entries that were answered.
func parseARP(text string) ([]neighbour, error) {
	var out []neighbour
	for i, line := range lines(text) {
		f := strings.Fields(line)
		if i == 0 {
			if len(f) == 0 || f[0] != "IP" {
				return nil, errFormat
			}
			continue
		}
		if len(f) < 6 {
			return nil, errFormat
		}
		addr, err := netip.ParseAddr(f[0])
		flags, flagErr := strconv.ParseUint(f[2], 0, 32)
		mac, macErr := net.ParseMAC(f[3])
		if err != nil || flagErr != nil || macErr != nil || !addr.Is4() {
			return nil, errFormat
		}
		if flags&arpComplete != 0 {
			out = append(out, neighbour{addr, mac.String(), f[len(f)-1]})
		}
	}
	return out, nil
}

// parseGateways4 reads /proc/net/route and returns the next hops.
func parseGateways4(text string) ([]neighbour, error) {
	rows, err := route4Rows(text)
	if err != nil {
		return nil, err
	}
	var out []neighbour
	for _, f := range rows {
		hop, err := hexAddr4(f[2])
		if err != nil {
			return nil, err
		}
		if !hop.IsUnspecified() {
			out = append(out, neighbour{addr: hop, link: f[0]})
		}
	}
	return out, nil
}

// parseGateways6 reads /proc/net/ipv6_route and returns the next hops.
func parseGateways6(text string) ([]neighbour, error) {
	var out []neighbour
	for _, line := range lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 {
			return nil, errFormat
		}
		raw, err := hex.DecodeString(f[4])
		hop, ok := netip.AddrFromSlice(raw)
		if err != nil || !ok || !hop.Is6() {
			return nil, errFormat
		}
		if !hop.IsUnspecified() {
			link := f[len(f)-1]
			out = append(out, neighbour{addr: onLink(hop, link), link: link})
		}
	}
	return out, nil
}

// The flags of an IPv6 address that is still being claimed, and of one that
// somebody else has, which stays so.
const (
	addrTentative = 0x40
	addrFailed    = 0x08
)

// parseTentative reads /proc/net/if_inet6 and returns the addresses that this
// kernel still asks the link for. Until it is answered nothing can be sent from
// them, so that every way looks closed.
func parseTentative(text string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, line := range lines(text) {
		f := strings.Fields(line)
		if len(f) != 6 {
			return nil, errFormat
		}
		raw, err := hex.DecodeString(f[0])
		addr, ok := netip.AddrFromSlice(raw)
		flags, flagErr := strconv.ParseUint(f[4], 16, 32)
		if err != nil || !ok || !addr.Is6() || flagErr != nil {
			return nil, errFormat
		}
		if flags&addrTentative != 0 && flags&addrFailed == 0 {
			out = append(out, onLink(addr, f[5]))
		}
	}
	return out, nil
}

// onLink gives an address that means something on one link only its zone.
func onLink(addr netip.Addr, link string) netip.Addr {
	if addr.Is6() && (addr.IsLinkLocalUnicast() || addr.IsLinkLocalMulticast()) {
		return addr.WithZone(link)
	}
	return addr
}

// The kernel's message of one neighbour: a head, then attributes of a length,
// a type and a value each.
const (
	neighHead = 12
	neighDst  = 1
	neighMAC  = 2
	// neighAnswered are the states of an entry whose machine has answered:
	// reachable, stale, delay, probe and permanent.
	neighAnswered = 0x02 | 0x04 | 0x08 | 0x10 | 0x80
)

// parseNeigh reads one RTM_NEWNEIGH. It reports false for what is no IPv6
// entry, or one that nobody has answered.
func parseNeigh(msg []byte, links map[int]string) (neighbour, bool) {
	if len(msg) < neighHead {
		return neighbour{}, false
	}
	state := binary.NativeEndian.Uint16(msg[8:])
	n := neighbour{link: links[int(binary.NativeEndian.Uint32(msg[4:]))]}
	for rest := msg[neighHead:]; len(rest) >= 4; {
		size := int(binary.NativeEndian.Uint16(rest))
		if size < 4 || size > len(rest) {
			break
		}
		switch value := rest[4:size]; binary.NativeEndian.Uint16(rest[2:]) {
		case neighDst:
			n.addr, _ = netip.AddrFromSlice(value)
		case neighMAC:
			n.mac = net.HardwareAddr(value).String()
		}
		rest = rest[min(len(rest), (size+3)&^3):]
	}
	if state&neighAnswered == 0 || !n.addr.Is6() || n.link == "" {
		return neighbour{}, false
	}
	n.addr = onLink(n.addr, n.link)
	return n, true
}

// strangers are the neighbours that are none of friends: machines which a guest
// should not have beside it. A friend may have more than one IPv6 address, so
// those go by the hardware's; IPv4 addresses are handed out one by one.
func strangers(all []neighbour, friends []netip.Addr) []neighbour {
	known := map[netip.Addr]bool{}
	for _, f := range friends {
		known[f] = true
	}
	macs := map[string]bool{}
	for _, n := range all {
		if known[n.addr] && n.mac != "" {
			macs[n.mac] = true
		}
	}
	var out []neighbour
	seen := map[netip.Addr]bool{}
	for _, n := range all {
		friend := known[n.addr] || n.addr.Is6() && macs[n.mac]
		if !friend && !seen[n.addr] {
			out = append(out, n)
		}
		seen[n.addr] = true
	}
	return out
}

// macsOf are the hardware addresses at which any of addrs answered, by link.
func macsOf(all []neighbour, addrs []netip.Addr) []neighbour {
	var out []neighbour
	for _, n := range all {
		for _, a := range addrs {
			if n.addr == a && n.mac != "" {
				out = append(out, n)
			}
		}
	}
	return out
}

// eui64 is the address that a machine with this hardware address gives itself
// in a prefix; its zero value where it cannot be told.
func eui64(prefix netip.Addr, mac string) netip.Addr {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 || !prefix.Is6() {
		return netip.Addr{}
	}
	b := prefix.As16()
	copy(b[8:], []byte{hw[0] ^ 2, hw[1], hw[2], 0xff, 0xfe, hw[3], hw[4], hw[5]})
	return netip.AddrFrom16(b).WithZone(prefix.Zone())
}

// firstAddress is the address of a subnet that its router usually has, the zero
// value where there is none beside own.
func firstAddress(own netip.Prefix) netip.Addr {
	if own.Addr().Is4() && own.Bits() > 31 || own.Bits() > 127 {
		return netip.Addr{}
	}
	first := own.Masked().Addr()
	if own.Bits() < 31 || own.Addr().Is6() {
		first = first.Next()
	} else if first == own.Addr() {
		first = first.Next() // the two machines of a /31
	}
	if first == own.Addr() {
		return netip.Addr{}
	}
	return first
}

// subnetSize is how many addresses a subnet may have to be searched whole.
const subnetSize = 1 << (32 - 22)

// hostsOf lists the addresses of an IPv4 subnet that a machine may have, but
// own. It reports false when there are too many to call each.
func hostsOf(own netip.Prefix) ([]netip.Addr, bool) {
	size := 1 << (32 - own.Bits())
	if size > subnetSize {
		return nil, false
	}
	var out []netip.Addr
	addr := own.Masked().Addr()
	for i := range size {
		// The first names the subnet and the last everybody.
		edge := size > 2 && (i == 0 || i == size-1)
		if !edge && addr != own.Addr() {
			out = append(out, addr)
		}
		addr = addr.Next()
	}
	return out, true
}
