package engine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// freeSubnet is the first unused /24 of those that vmnet hands out, other than
// the one given up. The first of them is the default network's.
func freeSubnet(used []netip.Prefix, not netip.Prefix) (netip.Prefix, error) {
	for third := 64; third < 255; third++ {
		candidate := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(third), 0}), 24)
		if candidate != not && !overlapsAny(candidate, used) {
			return candidate, nil
		}
	}
	return netip.Prefix{}, Failf(InternalError, "no free subnet is left: delete networks")
}

func overlapsAny(prefix netip.Prefix, others []netip.Prefix) bool {
	for _, other := range others {
		if prefix.Overlaps(other) {
			return true
		}
	}
	return false
}

// gatewayOf is the first address of a subnet.
func gatewayOf(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }

// freeAddress is the next unused address behind the last one handed out: a
// container that starts again has another address.
func freeAddress(subnet netip.Prefix, last netip.Addr, used map[netip.Addr]bool) (netip.Addr, error) {
	first := gatewayOf(subnet).Next()
	candidate := first
	if last.IsValid() && subnet.Contains(last.Next()) && last.Compare(first) >= 0 {
		candidate = last.Next()
	}
	for range 1 << (32 - subnet.Bits()) {
		if !subnet.Contains(candidate) || candidate == broadcastOf(subnet) {
			candidate = first
		}
		if !used[candidate] {
			return candidate, nil
		}
		candidate = candidate.Next()
	}
	return netip.Addr{}, Failf(InternalError, "no free address is left in %s", subnet)
}

func broadcastOf(subnet netip.Prefix) netip.Addr {
	base := subnet.Masked().Addr().As4()
	host := uint32(1)<<(32-subnet.Bits()) - 1
	binary.BigEndian.PutUint32(base[:], binary.BigEndian.Uint32(base[:])|host)
	return netip.AddrFrom4(base)
}

// subnet6 is the unique local /64 that goes with an IPv4 subnet.
func subnet6(subnet netip.Prefix) netip.Prefix {
	four := subnet.Masked().Addr().As4()
	var six [16]byte
	copy(six[:], []byte{0xfd, 0x5c, 0x1d, 0x2e, 0x3f, 0x40})
	six[6], six[7] = four[2], four[1]^168
	return netip.PrefixFrom(netip.AddrFrom16(six), 64)
}

// address6 is the address in subnet6 that goes with an IPv4 address.
func address6(subnet netip.Prefix, address netip.Addr) netip.Addr {
	six, four := subnet6(subnet).Addr().As16(), address.As4()
	copy(six[12:], four[:])
	six[12], six[13] = 0, 0
	return netip.AddrFrom16(six)
}

func withBits(address netip.Addr, bits int) string { return fmt.Sprintf("%s/%d", address, bits) }
