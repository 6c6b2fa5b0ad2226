package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The widest prefixes a private list may hold. Anything wider would not name a
// network but switch the address check off.
const (
	minPrefix4 = 8
	minPrefix6 = 7
)

// checkHost judges the host of a route: a name, "*." before at least two
// labels, or an IPv4 address that is listed as private too.
func checkHost(host string, private Private) error {
	below, wildcard := strings.CutPrefix(host, "*.")
	if wildcard {
		if err := checkWildcard(below); err != nil {
			return err
		}
	}
	return checkName(below, private)
}

// checkWildcard refuses what would cover a whole top-level domain or addresses.
func checkWildcard(below string) error {
	if !strings.Contains(strings.Trim(below, "."), ".") {
		return errors.New("a wildcard needs at least two labels after it, as in *.example.com")
	}
	if NumericHost(below) {
		return errors.New("a wildcard cannot cover addresses")
	}
	return nil
}

// checkName demands the canonical form, so that the policy reads as it is
// applied.
func checkName(host string, private Private) error {
	if strings.Contains(host, "*") {
		return errors.New("a wildcard may stand only for the first labels, as in *.example.com")
	}
	canonical, err := ParseHost(host)
	if err != nil {
		return err
	}
	if canonical != host {
		return fmt.Errorf("write it in lower case and without trailing dot: %q", canonical)
	}
	if host == LocalHost {
		return errors.New("this name is the proxy's own")
	}
	if !NumericHost(host) {
		return nil
	}
	addr, ok := LiteralIP(host)
	if !ok {
		return errors.New("a host that ends in a number must be an IPv4 address in dotted form")
	}
	if !slices.Contains(private, netip.PrefixFrom(addr, addr.BitLen())) {
		return fmt.Errorf("an address as host must also stand in private, exactly: private: [%q]", host)
	}
	return nil
}

func checkPorts(ports []int) []error {
	var faults []error
	for i, p := range ports {
		if p < 1 || p > 65535 {
			faults = append(faults, fmt.Errorf("port %d is not one of 1 to 65535", p))
		} else if slices.Contains(ports[:i], p) {
			faults = append(faults, fmt.Errorf("port %d is listed twice", p))
		}
	}
	return faults
}

func parsePrivate(list []string) (Private, []error) {
	var out Private
	var faults []error
	for _, s := range list {
		p, err := parsePrefix(s)
		if err != nil {
			faults = append(faults, fmt.Errorf("private %.80q: %w", s, err))
			continue
		}
		out = append(out, p)
	}
	return out, faults
}

func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" || addr.Is4In6() {
			return netip.Prefix{}, errors.New("write the plain address, without zone and not IPv4-mapped")
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New(`it is neither an address nor a prefix such as "10.0.0.0/8"`)
	case p.Addr().Is4In6():
		return netip.Prefix{}, errors.New("write the plain address, without zone and not IPv4-mapped")
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("it has bits set after the prefix; did you mean %s?", p.Masked())
	case p.Addr().Is4() && p.Bits() < minPrefix4, p.Addr().Is6() && p.Bits() < minPrefix6:
		return netip.Prefix{}, errors.New("it is too wide to name a network; list the networks meant")
	}
	return p, nil
}
