package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Bridges are called ap, a digit for what the network lets through, and a hash:
// rules for a digit hold for all bridges of it, so that making a network
// touches no rule.
const bridgePrefix = "ap"

// natKind is the digit of networks with a way out. The digits of internal ones
// are one more than the bits of what leaks.
const natKind = 0

const (
	leakRoutes = 1 << iota
	leakHost
	leakResolver
	leakAll = leakRoutes | leakHost | leakResolver
)

// internalKind is the digit of internal networks that leak so.
func internalKind(leaks int) int { return 1 + leaks }

// bridgeName is the name of a network's bridge.
func bridgeName(kind int, network string) string {
	return fmt.Sprintf("%s%d%s", bridgePrefix, kind, short(network))
}

// short is a name of eight characters for objects whose names the kernel cuts.
func short(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:4])
}

func bridges(kind int) string { return fmt.Sprintf("%s%d+", bridgePrefix, kind) }

// firewallRules are the rules for all networks, for iptables-restore. Nothing
// crosses from one network to another. What an internal network may not do is
// refused rather than dropped, so that a probe has its answer at once; the
// reply of a refusal is no service. resolver is the host's; "" for none.
func firewallRules(resolver string) string {
	var r rules
	r.filter("INPUT -i ap+ -m conntrack --ctstate ESTABLISHED,RELATED,DNAT -j ACCEPT")
	r.filter("FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
	r.filter("FORWARD -i ap+ -o ap+ -j REJECT --reject-with icmp-admin-prohibited")
	r.kind(natKind, leakAll, resolver)
	for leaks := range leakAll + 1 {
		r.kind(internalKind(leaks), leaks, resolver)
	}
	r.nat("POSTROUTING -m mark --mark 0xa991e ! -o ap+ -j MASQUERADE")
	return r.text("*mangle", []string{"PREROUTING -i ap+ -j MARK --set-mark 0xa991e"}) +
		r.text("*nat", r.nats) + r.text("*filter", r.filters)
}

// firewallRules6 are the rules for IPv6, which has no way out and no resolver
// anywhere.
func firewallRules6() string {
	var r rules
	r.filter("FORWARD -i ap+ -j REJECT --reject-with icmp6-adm-prohibited")
	for leaks := range leakAll + 1 {
		if leaks&leakHost != 0 {
			continue
		}
		in := "INPUT -i " + bridges(internalKind(leaks))
		// Neighbours must find the refusing gateway.
		for kind := 133; kind <= 136; kind++ {
			r.filter(fmt.Sprintf("%s -p icmpv6 --icmpv6-type %d -j ACCEPT", in, kind))
		}
		r.filter(in + " -j REJECT --reject-with icmp6-adm-prohibited")
	}
	return r.text("*filter", r.filters)
}

type rules struct{ nats, filters []string }

func (r *rules) filter(rule string) { r.filters = append(r.filters, rule) }
func (r *rules) nat(rule string)    { r.nats = append(r.nats, rule) }

// kind adds the rules for one digit.
func (r *rules) kind(digit, leaks int, resolver string) {
	in := "-i " + bridges(digit)
	if leaks&leakResolver != 0 && resolver != "" {
		for _, proto := range []string{"udp", "tcp"} {
			r.nat(fmt.Sprintf("PREROUTING %s -p %s --dport 53 -m addrtype --dst-type LOCAL -j DNAT --to-destination %s:53",
				in, proto, resolver))
		}
		r.filter("FORWARD " + in + " -m conntrack --ctstate DNAT -j ACCEPT")
	}
	if leaks&leakHost == 0 {
		r.filter("INPUT " + in + " -j REJECT --reject-with icmp-admin-prohibited")
	}
	if leaks&leakRoutes == 0 {
		r.filter("FORWARD " + in + " -j REJECT --reject-with icmp-admin-prohibited")
	}
	if digit != natKind {
		r.filter("FORWARD -o " + bridges(digit) + " -j REJECT --reject-with icmp-admin-prohibited")
	}
}

func (r *rules) text(table string, lines []string) string {
	var out strings.Builder
	out.WriteString(table + "\n")
	for _, line := range lines {
		out.WriteString("-A " + line + "\n")
	}
	out.WriteString("COMMIT\n")
	return out.String()
}
