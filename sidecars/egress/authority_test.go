package egress

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestParseAuthority(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4) + "b" // 253 characters
	tests := []struct {
		in   string
		port int // default
		want authority
		err  error
	}{
		{"allowed.test", 443, authority{"allowed.test", 443}, nil},
		{"allowed.test:8443", 443, authority{"allowed.test", 8443}, nil},
		{"ALLOWED.test.", 80, authority{"allowed.test", 80}, nil},
		{"ALLOWED.test.:443", 80, authority{"allowed.test", 443}, nil},
		{"xn--bcher-kva.test:1", 0, authority{"xn--bcher-kva.test", 1}, nil},
		{"a_b.test:65535", 0, authority{"a_b.test", 65535}, nil},
		{long, 80, authority{long, 80}, nil},
		{"allowed.test", 0, authority{}, errPort},
		{"", 80, authority{}, errHostEmpty},
		{":443", 80, authority{}, errHostEmpty},
		{".", 80, authority{}, errHostLabel},
		{"..", 80, authority{}, errHostLabel},
		{".allowed.test", 80, authority{}, errHostLabel},
		{"allowed..test", 80, authority{}, errHostLabel},
		{"allowed.test..", 80, authority{}, errHostLabel},
		{"-allowed.test", 80, authority{}, errHostLabel},
		{"allowed-.test", 80, authority{}, errHostLabel},
		{strings.Repeat("a", 64) + ".test", 80, authority{}, errHostLabel},
		{long + "c", 80, authority{}, errHostLong},
		{long + ".cc", 80, authority{}, errHostLong},
		{"evil.test\x00.allowed.test", 80, authority{}, errHostControl},
		{"allowed.test\r\n", 80, authority{}, errHostControl},
		{"allowed.test\t", 80, authority{}, errHostControl},
		{"allowed .test", 80, authority{}, errHostControl},
		{"allowed.test\x7f", 80, authority{}, errHostControl},
		{"[allowed.test]", 80, authority{}, errHostBracket},
		{"[[::1]]", 80, authority{}, errHostBracket},
		{"[::1]:443", 80, authority{}, errHostBracket},
		{"[fe80::1%eth0]:443", 80, authority{}, errHostBracket},
		{"::1", 80, authority{}, errHostEmpty},
		{"fe80::1%eth0", 80, authority{}, errPort},
		{"allowed.test@evil.test", 80, authority{}, errHostUser},
		{"allowed.test:443@evil.test", 80, authority{}, errPort},
		{"evil.test#.allowed.test", 80, authority{}, errHostChar},
		{"evil.test?.allowed.test", 80, authority{}, errHostChar},
		{"evil.test/.allowed.test", 80, authority{}, errHostChar},
		{`evil.test\.allowed.test`, 80, authority{}, errHostChar},
		{"*.test", 80, authority{}, errHostChar},
		{"evil%2eallowed.test", 80, authority{}, errHostPercent},
		{"evil%00.test", 80, authority{}, errHostPercent},
		{"allowed。test", 80, authority{}, errHostASCII},
		{"allowed．test", 80, authority{}, errHostASCII},
		{"faß.test", 80, authority{}, errHostASCII},
		{"allowed.teſt", 80, authority{}, errHostASCII},
		{"\u202etset.dewolla", 80, authority{}, errHostASCII},
		{"\xff.test", 80, authority{}, errHostASCII},
		{"allowed.test:", 80, authority{}, errPort},
		{"allowed.test:0", 80, authority{}, errPort},
		{"allowed.test:65536", 80, authority{}, errPort},
		{"allowed.test:99999999999", 80, authority{}, errPort},
		{"allowed.test:443:80", 80, authority{}, errPort},
		{"allowed.test:0443", 80, authority{}, errPort},
		{"allowed.test:+443", 80, authority{}, errPort},
		{"allowed.test:-1", 80, authority{}, errPort},
		{"allowed.test: 443", 80, authority{}, errPort},
		{"allowed.test:https", 80, authority{}, errPort},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := parseAuthority(tt.in, tt.port)
			if !errors.Is(err, tt.err) || got != tt.want {
				t.Errorf("parseAuthority(%q, %d) = %v, %v; want %v, %v", tt.in, tt.port, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestLooksNumeric(t *testing.T) {
	for host, want := range map[string]bool{
		"10.0.0.1": true, "127.1": true, "2130706433": true, "0x7f000001": true, "0x7f.1": true, "0177.0.0.01": true,
		"1.2.3.4.5": true, "a.0x": true, "a.1": true, "1.a": false, "0x.a": false, "a.0xg": false, "1a": false, "a1.test": false,
	} {
		if got := looksNumeric(host); got != want {
			t.Errorf("looksNumeric(%q) = %v", host, got)
		}
	}
}

// FuzzParseAuthority checks what every later step relies on: the result is
// canonical, parses to itself, and net/url reads the same host from it.
func FuzzParseAuthority(f *testing.F) {
	for _, s := range []string{"allowed.test:443", "A.TEST.", "[::1]:443", "a@b", "a:0", "a%00b", "127.1:80", "ａ.test", "a\x00b", "a..b:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseAuthority(s, 443)
		if err != nil {
			return
		}
		if got.port < 1 || got.port > 65535 || got.host == "" || len(got.host) > maxHostLen {
			t.Fatalf("%q gave %v", s, got)
		}
		if strings.Trim(got.host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" || strings.HasSuffix(got.host, ".") {
			t.Fatalf("%q gave the host %q", s, got.host)
		}
		if again, err := parseAuthority(got.host, got.port); err != nil || again != got {
			t.Fatalf("%q gave %v, which gives %v, %v", s, got, again, err)
		}
		u, err := url.Parse("https://" + hostPort(schemeHTTPS, got) + "/")
		if err != nil || u.Hostname() != got.host || u.User != nil {
			t.Fatalf("net/url reads %v, %v from %v", u, err, got)
		}
	})
}
