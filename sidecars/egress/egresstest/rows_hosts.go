package egresstest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Reasons that come in groups.
func malformed() []string {
	return []string{"head_malformed", "target_invalid", "host_invalid", "port_invalid"}
}
func unlisted() []string {
	return append(malformed(), "host_not_allowed", "ip_literal_refused", "port_not_allowed", "plain_http_refused")
}

// hosts are H1 to H8: names that parsers read differently, and names that look
// like allowed ones.
func (s Scene) hosts() []Attack {
	port := ":" + strconv.Itoa(s.Port)
	odd := []struct {
		row, name, host string
	}{
		{"H1", "NUL", Evil + "\x00." + Allowed},
		{"H1", "NUL escaped", Evil + "%00." + Allowed},
		{"H2", "case", "EVIL.Test"},
		{"H2", "trailing dot", "evil.test."},
		{"H2", "two trailing dots", "evil.test.."},
		{"H3", "brackets around a name", "[" + Evil + "]"},
		{"H3", "brackets around an address", "[::ffff:" + s.EvilIP.String() + "]"},
		{"H3", "brackets twice", "[[::1]]"},
		{"H3", "zone", "[fe80::1%25eth0]"},
		{"H4", "userinfo", Allowed + "@" + Evil},
		{"H4", "userinfo with a port", Allowed + port + "@" + Evil},
		{"H4", "fragment", Evil + "#." + Allowed},
		{"H4", "question mark", Evil + "?." + Allowed},
		{"H4", "backslash", Evil + `\.` + Allowed},
		{"H4", "tab", Evil + "\t." + Allowed},
		{"H4", "carriage return", Evil + "\r." + Allowed},
		{"H4", "line feed", Evil + "\n." + Allowed},
		{"H4", "space", Evil + " ." + Allowed},
		{"H4", "percent-encoded dot", "evil%2etest"},
		{"H5", "full-width dot", "allowed．test"},
		{"H5", "long s", "ſink.test"},
		{"H5", "Kelvin sign", "\u212a.test"},
		{"H5", "homoglyph", "аllowed.test"},
		{"H5", "bidi override", "allowed\u202e.test"},
		{"H5", "soft hyphen", "al\u00adlowed.test"},
		{"H5", "overlong UTF-8", "allowed\xc0\xae" + "test"},
		{"H5", "punycode", "xn--llowed-9ve.test"},
		{"H5", "invalid punycode", "XN--\xff.test"},
		{"H6", "something before", "not" + Allowed},
		{"H6", "something behind", Allowed + "." + Evil},
		{"H6", "the wildcard's own name", Wild},
		{"H6", "no dot before the suffix", "x" + Wild},
		{"H6", "an empty label", "." + Wild},
		{"H6", "the wildcard itself", "*." + Wild},
		{"H6", "a star", "*"},
		{"H6", "a longer suffix", Allowed + "s"},
		{"H8", "port 0", Allowed + ":0"},
		{"H8", "port 65536", Allowed + ":65536"},
		{"H8", "two ports", Allowed + ":443" + port},
		{"H8", "another port", Allowed + ":22"},
		{"H8", "no port is 443", Allowed + ":443"},
		{"H8", "leading zero", Allowed + ":0" + port[1:]},
		{"H8", "signed", Allowed + ":+" + port[1:]},
	}
	for i, form := range addressForms(s.EvilIP) {
		odd = append(odd, struct{ row, name, host string }{"H7", fmt.Sprintf("%d %s", i, form), form})
	}
	var all []Attack
	for _, o := range odd {
		at := o.host + port
		if o.row == "H8" {
			at = o.host
		}
		a := Attack{Row: o.row, Name: o.name, Reasons: unlisted()}
		all = append(all,
			opened(a, at, at),
			s.plainly(a, "http://"+at+"/", at, request{method: "GET"}))
		if !strings.ContainsAny(o.host, "\r\n") {
			inner := a
			inner.Name, inner.Reasons = a.Name+", Host", append(unlisted(), "host_mismatch")
			all = append(all, s.tunnelled(inner, Allowed, request{method: "GET"}.head("/ok/steal", at)))
		}
	}
	for i := range all {
		if all[i].Connect != nil && !strings.HasSuffix(all[i].Name, ", Host") {
			all[i].Name += ", CONNECT"
		}
	}
	return append(all, s.narrow()...)
}

// narrow reaches a host that has less than the wildcard around it, spelled so
// that only the wildcard might hold.
func (s Scene) narrow() []Attack {
	var all []Attack
	for _, name := range []string{"NARROW." + Wild, Narrow + "."} {
		a := Attack{Row: "H2", Name: name, Reasons: []string{"path_not_allowed"}, Forbidden: "/forbidden"}
		all = append(all, s.all(a, name, request{method: "GET", path: "/forbidden"})...)
	}
	a := Attack{Row: "H7", Name: "a name with a private address", Reasons: []string{"address_not_public"}}
	return append(all, s.all(a, Inside, request{method: "GET", path: "/"})...)
}

// addressForms are ways to write an IPv4 address, and addresses that only the
// proxy's own machine or network has.
func addressForms(a netip.Addr) []string {
	b := a.As4()
	n := binary.BigEndian.Uint32(b[:])
	return []string{
		a.String(), strconv.FormatUint(uint64(n), 10), fmt.Sprintf("0x%x", n), fmt.Sprintf("0%o", n),
		fmt.Sprintf("0x%x.%d", b[0], n&0xffffff), fmt.Sprintf("%d.%d", b[0], n&0xffffff), fmt.Sprintf("%#o.%#o.%#o.%#o", b[0], b[1], b[2], b[3]),
		a.String() + ".", "127.1", "0", "0.0.0.0", "100.64.0.1", "255.255.255.255", "224.0.0.1", "169.254.169.254",
		"[::" + a.String() + "]", "[64:ff9b::" + a.String() + "]", fmt.Sprintf("[2002:%x%02x:%x%02x::]", b[0], b[1], b[2], b[3]), "[2001:0:1::1]",
	}
}
