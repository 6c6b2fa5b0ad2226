package egress

import (
	"net/netip"

	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// Classes of addresses that are not public. The empty class is public.
const (
	classPublic        = ""
	classInvalid       = "invalid"
	classUnspecified   = "unspecified"
	classLoopback      = "loopback"
	classPrivate       = "private"
	classCGNAT         = "carrier_nat"
	classLinkLocal     = "link_local"
	classMetadata      = "metadata"
	classMulticast     = "multicast"
	classReserved      = "reserved"
	classDocumentation = "documentation"
	classBenchmark     = "benchmark"
	classTranslated    = "translated" // IPv6 forms that carry an IPv4 address
	classOwn           = "own"        // an address of the machine the proxy runs on
)

// span is one prefix and its class.
type span struct {
	prefix netip.Prefix
	class  string
}

// metadata holds the addresses at which clouds hand out credentials. Some lie
// in public space, so they are listed by themselves.
func isMetadata(a netip.Addr) bool {
	switch a.String() {
	case "169.254.169.254", // most clouds
		"169.254.170.2", "169.254.170.23", // container credentials
		"169.254.169.253",               // the resolver beside it
		"168.63.129.16",                 // Azure's wire server, a public address
		"100.100.100.200",               // Alibaba
		"192.0.0.192",                   // Oracle
		"fd00:ec2::254", "fd00:ec2::23", // AWS
		"fd20:ce::254": // Google
		return true
	}
	return false
}

// spans4 lists every IPv4 range that is not globally reachable unicast (IANA
// special-purpose registry), most specific class first where ranges overlap.
func spans4() []span {
	return []span{
		{netip.MustParsePrefix("0.0.0.0/8"), classUnspecified},
		{netip.MustParsePrefix("127.0.0.0/8"), classLoopback},
		{netip.MustParsePrefix("10.0.0.0/8"), classPrivate},
		{netip.MustParsePrefix("172.16.0.0/12"), classPrivate},
		{netip.MustParsePrefix("192.168.0.0/16"), classPrivate},
		{netip.MustParsePrefix("100.64.0.0/10"), classCGNAT},
		{netip.MustParsePrefix("169.254.0.0/16"), classLinkLocal},
		{netip.MustParsePrefix("192.0.2.0/24"), classDocumentation},
		{netip.MustParsePrefix("198.51.100.0/24"), classDocumentation},
		{netip.MustParsePrefix("203.0.113.0/24"), classDocumentation},
		{netip.MustParsePrefix("198.18.0.0/15"), classBenchmark},
		{netip.MustParsePrefix("192.0.0.0/24"), classReserved},
		{netip.MustParsePrefix("192.88.99.0/24"), classTranslated}, // 6to4 relay
		{netip.MustParsePrefix("224.0.0.0/4"), classMulticast},
		{netip.MustParsePrefix("240.0.0.0/4"), classReserved}, // with 255.255.255.255
	}
}

// spans6 names the IPv6 ranges that deserve their own class. Everything else
// outside 2000::/3 is reserved: only that block holds global unicast.
func spans6() []span {
	return []span{
		{netip.MustParsePrefix("::/128"), classUnspecified},
		{netip.MustParsePrefix("::1/128"), classLoopback},
		{netip.MustParsePrefix("::/96"), classTranslated},           // IPv4-compatible
		{netip.MustParsePrefix("::ffff:0:0:0/96"), classTranslated}, // IPv4-translated (SIIT)
		{netip.MustParsePrefix("64:ff9b::/96"), classTranslated},    // NAT64
		{netip.MustParsePrefix("64:ff9b:1::/48"), classTranslated},  // local NAT64
		{netip.MustParsePrefix("2002::/16"), classTranslated},       // 6to4
		{netip.MustParsePrefix("2001::/32"), classTranslated},       // Teredo
		{netip.MustParsePrefix("2001:2::/48"), classBenchmark},
		{netip.MustParsePrefix("2001:db8::/32"), classDocumentation},
		{netip.MustParsePrefix("3fff::/20"), classDocumentation},
		{netip.MustParsePrefix("2001::/23"), classReserved}, // protocol assignments, ORCHID
		{netip.MustParsePrefix("fc00::/7"), classPrivate},
		{netip.MustParsePrefix("fec0::/10"), classPrivate}, // site-local, deprecated
		{netip.MustParsePrefix("fe80::/10"), classLinkLocal},
		{netip.MustParsePrefix("ff00::/8"), classMulticast},
	}
}

// classifier tells public addresses from all others.
type classifier struct {
	v4, v6 []span
	global netip.Prefix
}

func newClassifier() *classifier {
	return &classifier{v4: spans4(), v6: spans6(), global: netip.MustParsePrefix("2000::/3")}
}

// class returns the class of a. An IPv4-mapped address is judged as the IPv4
// address it stands for, which is also what is dialled.
func (c *classifier) class(a netip.Addr) string {
	if !a.IsValid() || a.Zone() != "" {
		return classInvalid
	}
	a = a.Unmap()
	if isMetadata(a) {
		return classMetadata
	}
	spans := c.v6
	if a.Is4() {
		spans = c.v4
	}
	for _, s := range spans {
		if s.prefix.Contains(a) {
			return s.class
		}
	}
	if a.Is6() && !c.global.Contains(a) {
		return classReserved
	}
	return classPublic
}

// permits reports whether an address of that class may be dialled for a route
// with the given private list. Metadata and own addresses need an entry that
// names exactly them: a wide prefix is seldom meant to include those.
func permits(private policy.Private, a netip.Addr, class string) bool {
	return class == classPublic || private.Permits(a, class == classMetadata || class == classOwn)
}
