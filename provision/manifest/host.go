package manifest

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

const (
	maxHostLen  = 253
	maxLabelLen = 63
	// The widest prefixes that still name a network.
	minPrefix4, minPrefix6 = 8, 7

	// proxyHost is answered by the egress proxy itself.
	proxyHost = "_egress.local"
)

// CheckHost reports why s is not the host of a route: a lower case name, one
// leading "*." label before at least two others, or a dotted IPv4 address.
func CheckHost(s string) error {
	name, wildcard := strings.CutPrefix(s, "*.")
	switch {
	case name == "" || len(name) > maxHostLen:
		return fmt.Errorf("it must have 1 to %d characters", maxHostLen)
	case name == proxyHost:
		return errors.New("this name is the proxy's own")
	case strings.Contains(name, "*"):
		return errors.New("a wildcard may stand only for the first labels")
	case wildcard && !strings.Contains(name, "."):
		return errors.New("a wildcard needs at least two labels after it")
	}
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	if !numeric(name) {
		return nil
	}
	if _, ok := address(name); !ok || wildcard {
		return errors.New("a host that ends in a number must be an IPv4 address in dotted form")
	}
	return nil
}

func checkLabel(label string) error {
	if label == "" || len(label) > maxLabelLen || label[0] == '-' || label[len(label)-1] == '-' {
		return errors.New("a label is empty, too long, or starts or ends with '-'")
	}
	for _, c := range []byte(label) {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return errors.New("only a-z, 0-9, '-', '_' and '.' are accepted, without scheme, port or path")
		}
	}
	return nil
}

// numeric reports whether some resolver might read host as an IPv4 address.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if digits, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

func address(host string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(host)
	return addr, err == nil && addr.Is4()
}

func checkPrefix(s string) error {
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" || addr.Is4In6() {
			return errors.New("write the plain address, without zone and not IPv4-mapped")
		}
		return nil
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil || prefix.Addr().Is4In6():
		return errors.New("it is neither an address nor a prefix")
	case prefix != prefix.Masked():
		return fmt.Errorf("it has bits set after the prefix; did you mean %s?", prefix.Masked())
	case prefix.Addr().Is4() && prefix.Bits() < minPrefix4, prefix.Addr().Is6() && prefix.Bits() < minPrefix6:
		return errors.New("it is too wide to name a network")
	}
	return nil
}
