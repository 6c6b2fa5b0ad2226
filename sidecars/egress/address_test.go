package egress

import (
	"net/netip"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

func TestClass(t *testing.T) {
	tests := map[string]string{
		// public
		"1.1.1.1": classPublic, "8.8.8.8": classPublic, "93.184.216.34": classPublic, "100.63.255.255": classPublic,
		"100.128.0.0": classPublic, "172.15.255.255": classPublic, "172.32.0.0": classPublic, "192.167.255.255": classPublic,
		"198.17.255.255": classPublic, "198.20.0.0": classPublic, "223.255.255.255": classPublic, "169.253.255.255": classPublic,
		"2606:4700:4700::1111": classPublic, "2001:4860:4860::8888": classPublic, "2a00:1450::1": classPublic,
		"::ffff:1.1.1.1": classPublic, // stands for the IPv4 address, and is dialled as that
		// this machine and its networks
		"0.0.0.0": classUnspecified, "0.1.2.3": classUnspecified, "::": classUnspecified,
		"127.0.0.1": classLoopback, "127.255.255.254": classLoopback, "::1": classLoopback, "::ffff:127.0.0.1": classLoopback,
		"10.0.0.1": classPrivate, "10.255.255.255": classPrivate, "172.16.0.1": classPrivate, "172.31.255.255": classPrivate,
		"192.168.0.1": classPrivate, "::ffff:10.0.0.1": classPrivate, "fc00::1": classPrivate, "fd12:3456::1": classPrivate, "fec0::1": classPrivate,
		"100.64.0.0": classCGNAT, "100.127.255.255": classCGNAT,
		"169.254.0.1": classLinkLocal, "fe80::1": classLinkLocal, "::ffff:169.254.1.1": classLinkLocal,
		// credentials
		"169.254.169.254": classMetadata, "::ffff:169.254.169.254": classMetadata, "fd00:ec2::254": classMetadata,
		"100.100.100.200": classMetadata, "168.63.129.16": classMetadata, "192.0.0.192": classMetadata, "169.254.170.2": classMetadata,
		"fd20:ce::254": classMetadata,
		// special
		"224.0.0.1": classMulticast, "239.255.255.255": classMulticast, "ff02::1": classMulticast,
		"240.0.0.1": classReserved, "255.255.255.255": classReserved, "192.0.0.1": classReserved,
		"192.0.2.1": classDocumentation, "198.51.100.1": classDocumentation, "203.0.113.1": classDocumentation,
		"2001:db8::1": classDocumentation, "3fff::1": classDocumentation,
		"198.18.0.1": classBenchmark, "198.19.255.255": classBenchmark, "2001:2::1": classBenchmark,
		// IPv6 that carries IPv4
		"::7f00:1": classTranslated, "::8.8.8.8": classTranslated, "::ffff:0:127.0.0.1": classTranslated,
		"64:ff9b::7f00:1": classTranslated, "64:ff9b::8.8.8.8": classTranslated, "64:ff9b:1::1": classTranslated,
		"2002:7f00:1::1": classTranslated, "2001::1": classTranslated, "2001:0:53aa:64c::1": classTranslated, "192.88.99.1": classTranslated,
		// outside global unicast
		"100::1": classReserved, "4000::1": classReserved, "5f00::1": classReserved, "e000::1": classReserved, "2001:10::1": classReserved,
		"2001:20::1": classReserved, "64:ff9c::1": classReserved,
	}
	c := newClassifier()
	for in, want := range tests {
		if got := c.class(netip.MustParseAddr(in)); got != want {
			t.Errorf("class(%s) = %q, want %q", in, got, want)
		}
	}
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("2606:4700::1%1")} {
		if got := c.class(a); got != classInvalid {
			t.Errorf("class(%s) = %q, want %q", a, got, classInvalid)
		}
	}
}

func TestPermits(t *testing.T) {
	compiled, err := policy.Compile([]sidecars.Route{{Host: "a.test", Private: []string{"10.0.0.0/8", "169.254.0.0/16", "192.168.1.7", "fd00:ec2::254"}}})
	check(t, err)
	list := compiled.Private(0)
	c := newClassifier()
	tests := []struct {
		addr  string
		class string // "" means the classifier's
		want  bool
	}{
		{"1.1.1.1", "", true},
		{"10.1.2.3", "", true},
		{"10.1.2.3", classOwn, false},
		{"192.168.1.7", "", true},
		{"192.168.1.7", classOwn, true},
		{"192.168.1.8", "", false},
		{"169.254.1.1", "", true},
		{"169.254.169.254", "", false},
		{"fd00:ec2::254", "", true},
		{"127.0.0.1", "", false},
	}
	for _, tt := range tests {
		a := netip.MustParseAddr(tt.addr)
		class := tt.class
		if class == "" {
			class = c.class(a)
		}
		if got := permits(list, a, class); got != tt.want {
			t.Errorf("permits(%s, %q) = %v, want %v", tt.addr, class, got, tt.want)
		}
	}
}
