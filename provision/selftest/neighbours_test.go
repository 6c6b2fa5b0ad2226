package selftest

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const arpHeader = "IP address       HW type     Flags       HW address            Mask     Device\n"

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func near(addr, mac, link string) neighbour {
	return neighbour{netip.MustParseAddr(addr), mac, link}
}

func TestParseNeighbours(t *testing.T) {
	const six = "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
	tests := map[string]struct {
		parse func(string) ([]neighbour, error)
		text  string
		want  []neighbour
		bad   bool
	}{
		"arp none":       {parseARP, arpHeader, nil, false},
		"arp complete":   {parseARP, arpHeader + "192.168.64.1     0x1         0x2         02:00:00:00:64:01     *        eth0\n", []neighbour{near("192.168.64.1", "02:00:00:00:64:01", "eth0")}, false},
		"arp permanent":  {parseARP, arpHeader + "192.168.64.1     0x1         0x6         02:00:00:00:64:01     *        eth0\n", []neighbour{near("192.168.64.1", "02:00:00:00:64:01", "eth0")}, false},
		"arp incomplete": {parseARP, arpHeader + "192.168.64.7     0x1         0x0         00:00:00:00:00:00     *        eth0\n", nil, false},
		"arp headless":   {parseARP, "192.168.64.1 0x1 0x2 02:00:00:00:64:01 * eth0\n", nil, true},
		"arp short":      {parseARP, arpHeader + "192.168.64.1 0x1 0x2 02:00:00:00:64:01\n", nil, true},
		"arp no flags":   {parseARP, arpHeader + "192.168.64.1 0x1 zz 02:00:00:00:64:01 * eth0\n", nil, true},
		"arp no MAC":     {parseARP, arpHeader + "192.168.64.1 0x1 0x2 nonsense * eth0\n", nil, true},
		"arp no IPv4":    {parseARP, arpHeader + "fe80::1 0x1 0x2 02:00:00:00:64:01 * eth0\n", nil, true},
		"arp cut":        {parseARP, arpHeader + "192.168.64.1     0x1  ", nil, true},
		"v4 none":        {parseGateways4, route4Header, nil, false},
		"v4 hop":         {parseGateways4, route4Header + "eth0\t00000000\t0140A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", []neighbour{near("192.168.64.1", "", "eth0")}, false},
		"v4 link":        {parseGateways4, route4Header + "eth0\t0040A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", nil, false},
		"v4 headless":    {parseGateways4, "eth0\t00000000\t0140A8C0\t0003\t0\t0\t0\t00000000\n", nil, true},
		"v4 short":       {parseGateways4, route4Header + "eth0\t0\n", nil, true},
		"v4 not hex":     {parseGateways4, route4Header + "eth0\t0\tzz\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", nil, true},
		"v6 none":        {parseGateways6, "", nil, false},
		"v6 link":        {parseGateways6, six, nil, false},
		"v6 hop": {
			parseGateways6, strings.Replace(six, " 00000000000000000000000000000000 00000100", " fe80000000000000000000fffe006401 00000100", 1),
			[]neighbour{near("fe80::ff:fe00:6401%eth0", "", "eth0")}, false,
		},
		"v6 short":      {parseGateways6, "fe80 40 eth0\n", nil, true},
		"v6 not hex":    {parseGateways6, strings.Replace(six, " 00000000000000000000000000000000 00000100", " zz 00000100", 1), nil, true},
		"v6 half a hop": {parseGateways6, strings.Replace(six, " 00000000000000000000000000000000 00000100", " 0a000001 00000100", 1), nil, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.parse(tt.text)
			if (err != nil) != tt.bad || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, %v; want %v, error %v", got, err, tt.want, tt.bad)
			}
		})
	}
}

func TestParseTentative(t *testing.T) {
	line := func(flags string) string {
		return "fe80000000000000000000fffe006401 02 40 20 " + flags + "     eth0\n"
	}
	tests := map[string]struct {
		text string
		want []netip.Addr
		bad  bool
	}{
		"none":         {"", nil, false},
		"ready":        {line("80"), nil, false},
		"asking":       {line("c0"), addrs("fe80::ff:fe00:6401%eth0"), false},
		"somebody's":   {line("c8"), nil, false},
		"wide flags":   {line("240"), addrs("fe80::ff:fe00:6401%eth0"), false},
		"short":        {"fe80 02 40 20 c0\n", nil, true},
		"not hex":      {strings.Replace(line("80"), "fe80", "zz80", 1), nil, true},
		"no flags":     {line("zz"), nil, true},
		"half address": {"0a000001 02 40 20 c0 eth0\n", nil, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseTentative(tt.text)
			if (err != nil) != tt.bad || !slices.Equal(got, tt.want) {
				t.Errorf("got %v, %v; want %v, error %v", got, err, tt.want, tt.bad)
			}
		})
	}
}

// neighMessage is an RTM_NEWNEIGH as this kernel would write it.
func neighMessage(index uint32, state uint16, addr string, mac []byte) []byte {
	msg := binary.NativeEndian.AppendUint32(nil, 0)
	msg = binary.NativeEndian.AppendUint32(msg, index)
	msg = binary.NativeEndian.AppendUint32(msg, uint32(state)) // the flags and the type are zero
	attribute := func(kind uint16, value []byte) {
		msg = binary.NativeEndian.AppendUint16(msg, uint16(4+len(value)))
		msg = binary.NativeEndian.AppendUint16(msg, kind)
		msg = append(msg, value...)
		for len(msg)%4 != 0 {
			msg = append(msg, 0)
		}
	}
	attribute(neighDst, netip.MustParseAddr(addr).AsSlice())
	attribute(neighMAC, mac)
	return msg
}

func TestParseNeigh(t *testing.T) {
	links := map[int]string{2: "eth0"}
	mac := []byte{2, 0, 0, 0, 0x64, 1}
	whole := neighMessage(2, 0x04, "fe80::9", mac)
	tests := map[string]struct {
		msg  []byte
		want neighbour
		ok   bool
	}{
		"stale":          {whole, near("fe80::9%eth0", "02:00:00:00:64:01", "eth0"), true},
		"global":         {neighMessage(2, 0x02, "fd00::9", mac), near("fd00::9", "02:00:00:00:64:01", "eth0"), true},
		"incomplete":     {neighMessage(2, 0x01, "fe80::9", mac), neighbour{}, false},
		"failed":         {neighMessage(2, 0x20, "fe80::9", mac), neighbour{}, false},
		"multicast":      {neighMessage(2, 0x40, "ff02::1", mac), neighbour{}, false},
		"another link":   {neighMessage(9, 0x04, "fe80::9", mac), neighbour{}, false},
		"IPv4":           {neighMessage(2, 0x04, "192.0.2.9", mac), neighbour{}, false},
		"head alone":     {whole[:neighHead], neighbour{}, false},
		"cut in a value": {whole[:neighHead+8], neighbour{}, false},
		"nothing":        {nil, neighbour{}, false},
		"size of zero":   {append(slices.Clone(whole[:neighHead]), 0, 0, 1, 0), neighbour{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, ok := parseNeigh(tt.msg, links); ok != tt.ok || got != tt.want {
				t.Errorf("got %v, %v; want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestStrangers(t *testing.T) {
	const gatewayMAC, sidecarMAC, peerMAC = "02:00:00:00:64:01", "02:00:00:00:64:03", "02:00:00:00:64:09"
	friends := addrs("192.168.64.1", "192.168.64.3", "192.168.64.2")
	known := []neighbour{near("192.168.64.1", gatewayMAC, "eth0"), near("192.168.64.3", sidecarMAC, "eth0")}
	tests := map[string]struct {
		more []neighbour
		want string
	}{
		"nobody":                {nil, ""},
		"a peer":                {[]neighbour{near("192.168.64.9", peerMAC, "eth0")}, "192.168.64.9 (" + peerMAC + ")"},
		"a peer, twice":         {[]neighbour{near("192.168.64.9", peerMAC, "eth0"), near("192.168.64.9", peerMAC, "eth0")}, "192.168.64.9 (" + peerMAC + ")"},
		"the gateway's IPv6":    {[]neighbour{near("fe80::1%eth0", gatewayMAC, "eth0")}, ""},
		"the sidecar's IPv6":    {[]neighbour{near("fe80::3%eth0", sidecarMAC, "eth0")}, ""},
		"a peer's IPv6":         {[]neighbour{near("fe80::9%eth0", peerMAC, "eth0")}, "fe80::9%eth0 (" + peerMAC + ")"},
		"nobody knows whose":    {[]neighbour{near("fe80::9%eth0", "", "eth0")}, "fe80::9%eth0"},
		"answered for by a box": {[]neighbour{near("192.168.64.9", gatewayMAC, "eth0")}, "192.168.64.9 (" + gatewayMAC + ")"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := join(strangers(append(slices.Clone(known), tt.more...), friends)); got != tt.want {
				t.Errorf("strangers are %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSubnets(t *testing.T) {
	tests := map[string]struct {
		own   string
		first string
		hosts int
		ok    bool
	}{
		"24":          {"192.168.64.2/24", "192.168.64.1", 253, true},
		"24, first":   {"192.168.64.1/24", "", 253, true},
		"30":          {"192.168.64.2/30", "192.168.64.1", 1, true},
		"31":          {"192.168.64.2/31", "192.168.64.3", 1, true},
		"31, second":  {"192.168.64.3/31", "192.168.64.2", 1, true},
		"32":          {"192.168.64.2/32", "", 0, true},
		"22":          {"10.0.1.2/22", "10.0.0.1", 1021, true},
		"21":          {"10.0.1.2/21", "10.0.0.1", 0, false},
		"8":           {"10.0.1.2/8", "10.0.0.1", 0, false},
		"the highest": {"255.255.255.253/24", "255.255.255.1", 253, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			own := netip.MustParsePrefix(tt.own)
			if first := firstAddress(own); first.IsValid() != (tt.first != "") || first.IsValid() && first.String() != tt.first {
				t.Errorf("the first address is %s, want %q", first, tt.first)
			}
			hosts, ok := hostsOf(own)
			if len(hosts) != tt.hosts || ok != tt.ok || slices.Contains(hosts, own.Addr()) {
				t.Errorf("%d hosts, %v", len(hosts), ok)
			}
		})
	}
	for own, want := range map[string]string{"fd00::5/64": "fd00::1", "fd00::1/64": "invalid IP", "fd00::1/128": "invalid IP"} {
		if got := firstAddress(netip.MustParsePrefix(own)); got.String() != want {
			t.Errorf("the first address of %s is %s, want %s", own, got, want)
		}
	}
}

func TestEUI64(t *testing.T) {
	tests := map[string]struct{ prefix, mac, want string }{
		"link-local": {"fe80::%eth0", "02:00:00:00:64:01", "fe80::ff:fe00:6401%eth0"},
		"own":        {"fd00:64::", "be:d0:74:22:80:64", "fd00:64::bcd0:74ff:fe22:8064"},
		"no MAC":     {"fe80::%eth0", "", "invalid IP"},
		"long MAC":   {"fe80::%eth0", "02:00:00:00:64:01:02:03", "invalid IP"},
		"IPv4":       {"192.0.2.0", "02:00:00:00:64:01", "invalid IP"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := eui64(netip.MustParseAddr(tt.prefix), tt.mac); got.String() != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func FuzzNeighbours(f *testing.F) {
	f.Add(arpHeader+"192.168.64.1     0x1         0x2         02:00:00:00:64:01     *        eth0\n", neighMessage(2, 0x04, "fe80::9", []byte{2, 0, 0, 0, 0, 1}))
	f.Add(route4Header+"eth0\t00000000\t0140A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", []byte{})
	f.Add("fe80000000000000000000fffe006401 02 40 20 c0     eth0\n", []byte{0, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, text string, msg []byte) {
		for _, parse := range []func(string) ([]neighbour, error){parseARP, parseGateways4, parseGateways6} {
			got, err := parse(text)
			if err != nil && got != nil {
				t.Errorf("both %v and %v", got, err)
			}
			for _, n := range got {
				if !n.addr.IsValid() || n.link == "" || !strings.Contains(text, n.link) {
					t.Errorf("a neighbour %+v that the text does not name", n)
				}
			}
			// Whatever is read, nobody is a stranger to those he is among.
			var all []netip.Addr
			for _, n := range got {
				all = append(all, n.addr)
			}
			if len(strangers(got, all)) > 0 {
				t.Error("a friend is a stranger")
			}
		}
		if got, err := parseTentative(text); err != nil && got != nil {
			t.Errorf("both %v and %v", got, err)
		}
		if n, ok := parseNeigh(msg, map[int]string{2: "eth0"}); ok && (!n.addr.Is6() || n.link != "eth0") {
			t.Errorf("a neighbour %+v", n)
		}
	})
}
