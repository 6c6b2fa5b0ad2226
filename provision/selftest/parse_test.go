package selftest

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

const route4Header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

func TestParseRoutes(t *testing.T) {
	tests := map[string]struct {
		parse func(string) ([]string, error)
		text  string
		want  []string
		bad   bool
	}{
		"v4 none":     {parseRoute4, route4Header, nil, false},
		"v4 default":  {parseRoute4, route4Header + "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", []string{"0.0.0.0/0.0.0.0 on eth0"}, false},
		"v4 subnet":   {parseRoute4, route4Header + "veth\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n", []string{"172.17.0.0/255.255.0.0 on veth"}, false},
		"v4 lo":       {parseRoute4, route4Header + "lo\t0000007F\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n", nil, false},
		"v4 empty":    {parseRoute4, "", nil, false},
		"v4 headless": {parseRoute4, "eth0 00000000 0 0003 0 0 0 00000000\n", nil, true},
		"v4 short":    {parseRoute4, route4Header + "eth0 0\n", nil, true},
		"v4 not hex":  {parseRoute4, route4Header + "eth0 zz 0 0003 0 0 0 00000000 0 0 0\n", nil, true},
		"v6 none":     {parseRoute6, "", nil, false},
		"v6 lo": {parseRoute6, "00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo\n" +
			"00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n", nil, false},
		"v6 link":  {parseRoute6, "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n", []string{"fe80::/64 on eth0"}, false},
		"v6 short": {parseRoute6, "fe80 40 eth0\n", nil, true},
		"v6 junk":  {parseRoute6, "zz 40 0 0 0 0 0 0 0 eth0\n", nil, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.parse(tt.text)
			if (err != nil) != tt.bad || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, %v; want %q, error %v", got, err, tt.want, tt.bad)
			}
		})
	}
}

func TestParseNameservers(t *testing.T) {
	text := "# nameserver 9.9.9.9\nsearch lan\nnameserver 127.0.0.53\n  nameserver\tfd00::1 # note\nnameserver\noptions edns0\n"
	if got := parseNameservers(text); !reflect.DeepEqual(got, []string{"127.0.0.53", "fd00::1"}) {
		t.Errorf("got %q", got)
	}
}

func TestStatus(t *testing.T) {
	s := parseStatus("Name:\tbottle-mcp\nPPid:\t0\nSeccomp:\t2\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\tyes\n")
	if n, err := s.number("Seccomp"); n != 2 || err != nil {
		t.Errorf("Seccomp is %d, %v", n, err)
	}
	for _, key := range []string{"NoNewPrivs", "Absent"} {
		if _, err := s.number(key); !errors.Is(err, errFormat) {
			t.Errorf("%s: %v", key, err)
		}
	}
	tests := map[string]struct {
		keys []string
		want string
	}{
		"empty":   {[]string{"CapEff"}, ""},
		"held":    {[]string{"CapEff", "CapBnd"}, "capabilities are held: CapBnd 00000000a80425fb"},
		"missing": {[]string{"CapEff", "CapAmb"}, `field CapAmb is ""`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := s.zero(tt.keys...)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestParseAbstract(t *testing.T) {
	const header = "Num       RefCount Protocol Flags    Type St Inode Path\n"
	tests := map[string]struct {
		text string
		want []string
		bad  bool
	}{
		"none":     {header, nil, false},
		"unnamed":  {header + "ffff: 00000002 00000000 00000000 0001 01 1234\n", nil, false},
		"named":    {header + "ffff: 00000002 00000000 00010000 0001 01 1234 /run/x\n", nil, false},
		"abstract": {header + "ffff: 00000002 00000000 00010000 0001 01 1234 @/containerd\n", []string{"@/containerd"}, false},
		"headless": {"ffff: 00000002\n", nil, true},
		"short":    {header + "ffff:\n", nil, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseAbstract(tt.text)
			if (err != nil) != tt.bad || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestQuestion(t *testing.T) {
	const want = "bt\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08unlisted\x07invalid\x00\x00\x01\x00\x01"
	if got := string(question("unlisted.invalid.")); got != want {
		t.Errorf("got %q", got)
	}
	if got := question(strings.Repeat("x", 99)); len(got) != 12+64+5 {
		t.Errorf("a label too long gives %d bytes", len(got))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(route4Header + "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
	f.Add("fe800000000000000000000000000000 40 0 00 0 0 0 0 1 eth0\n")
	f.Add("Name:\tx\nnameserver 1.1.1.1\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) ([]string, error){parseRoute4, parseRoute6, parseAbstract} {
			if got, err := parse(text); err != nil && got != nil {
				t.Errorf("both %q and %v", got, err)
			}
		}
		for _, n := range parseNameservers(text) {
			if !strings.Contains(text, n) {
				t.Errorf("nameserver %q is not in the text", n)
			}
		}
		if err := parseStatus(text).zero("CapBnd"); err == nil && !strings.Contains(text, "CapBnd") {
			t.Error("a missing capability set counts as empty")
		}
	})
}
