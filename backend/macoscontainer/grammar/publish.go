package grammar

import (
	"net/netip"
	"strconv"
	"strings"
)

const rulePublish = "publish"

// Publish is a range of the guest's ports at a range of the host's.
type Publish struct {
	HostAddress   netip.Addr // 0.0.0.0 when none is given
	HostPort      uint16
	ContainerPort uint16
	Count         uint16
	Protocol      string // "tcp" or "udp"
}

// PublishSocket is a UNIX socket of the guest at a path of the host. A path of
// the host that is relative is so to the program's working directory.
type PublishSocket struct{ Host, Guest string }

// ParsePublish reads a value of --publish.
func ParsePublish(spec string) (Publish, error) {
	invalid := failure(rulePublish, codeInvalidArgument, "invalid publish value: "+spec)
	rest, protocol, given := strings.Cut(spec, "/")
	if !given {
		protocol = "tcp"
	}
	p := Publish{Protocol: strings.ToLower(protocol), HostAddress: netip.IPv4Unspecified()}
	if p.Protocol != "tcp" && p.Protocol != "udp" {
		return Publish{}, failure(rulePublish, codeInvalidArgument, "invalid publish protocol: "+protocol)
	}
	rest, container, ok := cutLast(rest, ":")
	if !ok {
		return Publish{}, invalid
	}
	host := rest
	if address, port, ok := cutLast(rest, ":"); ok {
		host = port
		if p.HostAddress, ok = publishAddress(address); !ok {
			return Publish{}, failure(rulePublish, codeInvalidArgument, "invalid publish address: "+spec)
		}
	}
	var hostCount uint16
	var hostOK, containerOK bool
	p.HostPort, hostCount, hostOK = portRange(host)
	p.ContainerPort, p.Count, containerOK = portRange(container)
	if !hostOK || !containerOK {
		return Publish{}, failure(rulePublish, codeInvalidArgument, "invalid publish port range: "+spec)
	}
	if hostCount != p.Count {
		return Publish{}, failure(rulePublish, codeInvalidArgument, "publish host and container port counts are not equal: "+spec)
	}
	return p, nil
}

// publishAddress reads an IPv4 address, or an IPv6 address in brackets.
func publishAddress(text string) (netip.Addr, bool) {
	bare, bracketed := strings.CutPrefix(text, "[")
	if bracketed {
		var closed bool
		if bare, closed = strings.CutSuffix(bare, "]"); !closed {
			return netip.Addr{}, false
		}
	}
	address, err := netip.ParseAddr(bare)
	return address, err == nil && address.Is6() == bracketed && address.Zone() == ""
}

// portRange reads PORT or FIRST-LAST; a port is at least 2.
func portRange(text string) (first, count uint16, ok bool) {
	parts := splitNonEmpty(text, '-', -1)
	if len(parts) == 0 || len(parts) > 2 {
		return 0, 0, false
	}
	var ports [2]uint16
	for i := range ports {
		part := parts[min(i, len(parts)-1)]
		n, err := strconv.ParseUint(strings.TrimPrefix(part, "+"), 10, 16)
		if err != nil {
			return 0, 0, false
		}
		ports[i] = uint16(n)
	}
	return ports[0], ports[1] - ports[0] + 1, ports[0] > 1 && ports[0] <= ports[1]
}

// checkPublishes applies what holds for all values of --publish together. The
// address of the host does not make two ranges differ.
func checkPublishes(specs []string) error {
	if most := load().Names.PublishMax; len(specs) > most {
		return failure(rulePublish, codeInvalidArgument, "cannot exceed more than "+strconv.Itoa(most)+" port publish descriptors")
	}
	type place struct {
		port     uint16
		protocol string
	}
	taken := map[place]bool{}
	for _, spec := range specs {
		p, err := ParsePublish(spec)
		if err != nil {
			return err
		}
		for i := range p.Count {
			at := place{p.HostPort + i, p.Protocol}
			if taken[at] {
				return failure(rulePublish, codeInvalidArgument, "host ports for different publish port specs may not overlap")
			}
			taken[at] = true
		}
	}
	return nil
}

// ParsePublishSocket reads a value of --publish-socket.
func ParsePublishSocket(spec string) (PublishSocket, error) {
	parts := splitNonEmpty(spec, ':', -1)
	if len(parts) != 2 {
		return PublishSocket{}, failure(rulePublish, codeInvalidArgument, "invalid publish-socket format "+spec+". Expected: host_path:container_path")
	}
	s := PublishSocket{Host: parts[0], Guest: parts[1]}
	if !strings.HasPrefix(s.Guest, "/") {
		return PublishSocket{}, failure(rulePublish, codeInvalidArgument, "containerPath must be absolute: "+s.Guest)
	}
	return s, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
