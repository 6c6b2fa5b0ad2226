package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"unicode"
)

// maxResolvers is how many a guest's C library asks.
const maxResolvers = 3

// fallbackResolver is used when neither the operator nor the host names one.
const fallbackResolver = "1.1.1.1"

// Resolvers are the nameservers for the builder and the sidecars: the
// operator's (BOT_BOTTLE_MACOS_CONTAINER_DNS), else this host's, else 1.1.1.1.
// The engine's own default, the gateway of the network, routes but does not
// resolve on some hosts.
func (i *Images) Resolvers(ctx context.Context) ([]netip.Addr, error) {
	addrs, _, err := i.resolvers(ctx)
	return addrs, err
}

// resolvers also tells whether the operator chose them.
func (i *Images) resolvers(ctx context.Context) (addrs []netip.Addr, override bool, err error) {
	if value := i.setting(EnvDNS); value != "" {
		addrs, err := parseResolvers(value)
		return addrs, true, err
	}
	if i.cfg.ResolverText != nil {
		text, err := i.cfg.ResolverText(ctx)
		if err != nil && ctx.Err() != nil {
			return nil, false, fmt.Errorf("ask for this host's resolvers: %w", err)
		}
		if err != nil {
			i.log.Warn("this host's resolvers cannot be asked for; resolv.conf is read instead", "error", err)
		}
		if addrs := scutilResolvers(text); len(addrs) > 0 {
			return addrs, false, nil
		}
	}
	text, err := os.ReadFile(i.cfg.ResolvConf)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		i.log.Warn("this host's resolvers cannot be read", "error", err)
	}
	if addrs := confResolvers(text); len(addrs) > 0 {
		return addrs, false, nil
	}
	return []netip.Addr{netip.MustParseAddr(fallbackResolver)}, false, nil
}

// parseResolvers reads the operator's list. Whatever a guest could not reach is
// an error: the operator meant something else.
func parseResolvers(value string) ([]netip.Addr, error) {
	words := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	var addrs []netip.Addr
	for _, word := range words {
		addr, err := netip.ParseAddr(word)
		if err != nil || addr.Zone() != "" {
			return nil, fmt.Errorf("%s: %.60q is not an IP address: list addresses of resolvers, such as %s", EnvDNS, word, fallbackResolver)
		}
		if addr = addr.Unmap(); !reachable(addr) {
			return nil, fmt.Errorf("%s: a guest cannot reach a resolver at %s: list addresses of the network", EnvDNS, addr)
		}
		if !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s holds no address: list addresses of resolvers, such as %s, or unset it", EnvDNS, fallbackResolver)
	}
	if len(addrs) > maxResolvers {
		return nil, fmt.Errorf("%s lists %d resolvers and at most %d are ever asked: shorten it", EnvDNS, len(addrs), maxResolvers)
	}
	return addrs, nil
}

// reachable reports whether an address means the same in a guest as here.
func reachable(addr netip.Addr) bool {
	return !addr.IsUnspecified() && !addr.IsLoopback() && !addr.IsLinkLocalUnicast() && !addr.IsMulticast() &&
		addr != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// usable is a nameserver of this host for a guest; guests have IPv4 for sure.
func usable(word string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(word)
	if err != nil || !addr.Is4() || !reachable(addr) {
		return netip.Addr{}, false
	}
	return addr, true
}

// add keeps a list short and without repetition.
func add(addrs []netip.Addr, addr netip.Addr) []netip.Addr {
	if len(addrs) >= maxResolvers || slices.Contains(addrs, addr) {
		return addrs
	}
	return append(addrs, addr)
}

// confResolvers reads resolv.conf.
func confResolvers(text []byte) []netip.Addr {
	var addrs []netip.Addr
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, ok := usable(fields[1]); ok {
			addrs = add(addrs, addr)
		}
	}
	return addrs
}

// scutilResolvers reads what `scutil --dns` prints: the first resolver that is
// asked for every name and has an IPv4 address. A VPN that takes all names
// comes first there; one that takes a domain is skipped, and so are the scoped
// resolvers of the second half, which belong to interfaces.
func scutilResolvers(text []byte) []netip.Addr {
	general, _, _ := strings.Cut(string(text), "DNS configuration (for scoped")
	for n, section := range strings.Split(general, "resolver #") {
		if n == 0 {
			continue // the heading
		}
		entry := readEntry(section)
		// The first is the default, also where it names its search domain so.
		if len(entry.addrs) > 0 && !entry.unusual && (n == 1 || !entry.domain) {
			return entry.addrs
		}
	}
	return nil
}

// scutilEntry is one "resolver #n" of what scutil prints.
type scutilEntry struct {
	addrs   []netip.Addr
	domain  bool // for one domain only, as a split VPN has them
	unusual bool // multicast DNS, or another port than 53
}

// readEntry reads "key : value" lines.
func readEntry(section string) scutilEntry {
	var e scutilEntry
	for line := range strings.Lines(section) {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case strings.HasPrefix(key, "nameserver["):
			if addr, ok := usable(value); ok {
				e.addrs = add(e.addrs, addr)
			}
		case key == "domain":
			e.domain = true
		case key == "port":
			e.unusual = e.unusual || value != "53"
		case key == "options":
			e.unusual = e.unusual || strings.Contains(value, "mdns")
		}
	}
	return e
}
