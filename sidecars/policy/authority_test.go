package policy

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func TestParseAuthority(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4) + "b" // 253 characters
	tests := []struct {
		in   string
		port int // default
		want Authority
		err  error
	}{
		{"allowed.test", 443, Authority{"allowed.test", 443}, nil},
		{"allowed.test:8443", 443, Authority{"allowed.test", 8443}, nil},
		{"ALLOWED.test.", 80, Authority{"allowed.test", 80}, nil},
		{"ALLOWED.test.:443", 80, Authority{"allowed.test", 443}, nil},
		{"xn--bcher-kva.test:1", 0, Authority{"xn--bcher-kva.test", 1}, nil},
		{"a_b.test:65535", 0, Authority{"a_b.test", 65535}, nil},
		{long, 80, Authority{long, 80}, nil},
		{"allowed.test", 0, Authority{}, ErrPort},
		{"", 80, Authority{}, errHostEmpty},
		{":443", 80, Authority{}, errHostEmpty},
		{".", 80, Authority{}, errHostLabel},
		{"..", 80, Authority{}, errHostLabel},
		{".allowed.test", 80, Authority{}, errHostLabel},
		{"allowed..test", 80, Authority{}, errHostLabel},
		{"allowed.test..", 80, Authority{}, errHostLabel},
		{"-allowed.test", 80, Authority{}, errHostLabel},
		{"allowed-.test", 80, Authority{}, errHostLabel},
		{strings.Repeat("a", 64) + ".test", 80, Authority{}, errHostLabel},
		{long + "c", 80, Authority{}, errHostLong},
		{long + ".cc", 80, Authority{}, errHostLong},
		{"evil.test\x00.allowed.test", 80, Authority{}, errHostControl},
		{"allowed.test\r\n", 80, Authority{}, errHostControl},
		{"allowed.test\t", 80, Authority{}, errHostControl},
		{"allowed .test", 80, Authority{}, errHostControl},
		{"allowed.test\x7f", 80, Authority{}, errHostControl},
		{"[allowed.test]", 80, Authority{}, errHostBracket},
		{"[[::1]]", 80, Authority{}, errHostBracket},
		{"[::1]:443", 80, Authority{}, errHostBracket},
		{"[fe80::1%eth0]:443", 80, Authority{}, errHostBracket},
		{"::1", 80, Authority{}, errHostEmpty},
		{"fe80::1%eth0", 80, Authority{}, ErrPort},
		{"allowed.test@evil.test", 80, Authority{}, errHostUser},
		{"allowed.test:443@evil.test", 80, Authority{}, ErrPort},
		{"evil.test#.allowed.test", 80, Authority{}, errHostChar},
		{"evil.test?.allowed.test", 80, Authority{}, errHostChar},
		{"evil.test/.allowed.test", 80, Authority{}, errHostChar},
		{`evil.test\.allowed.test`, 80, Authority{}, errHostChar},
		{"*.test", 80, Authority{}, errHostChar},
		{"evil%2eallowed.test", 80, Authority{}, errHostPercent},
		{"evil%00.test", 80, Authority{}, errHostPercent},
		{"allowed。test", 80, Authority{}, errHostASCII},
		{"allowed．test", 80, Authority{}, errHostASCII},
		{"faß.test", 80, Authority{}, errHostASCII},
		{"allowed.teſt", 80, Authority{}, errHostASCII},
		{"\u202etset.dewolla", 80, Authority{}, errHostASCII},
		{"\xff.test", 80, Authority{}, errHostASCII},
		{"allowed.test:", 80, Authority{}, ErrPort},
		{"allowed.test:0", 80, Authority{}, ErrPort},
		{"allowed.test:65536", 80, Authority{}, ErrPort},
		{"allowed.test:99999999999", 80, Authority{}, ErrPort},
		{"allowed.test:443:80", 80, Authority{}, ErrPort},
		{"allowed.test:0443", 80, Authority{}, ErrPort},
		{"allowed.test:+443", 80, Authority{}, ErrPort},
		{"allowed.test:-1", 80, Authority{}, ErrPort},
		{"allowed.test: 443", 80, Authority{}, ErrPort},
		{"allowed.test:https", 80, Authority{}, ErrPort},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParseAuthority(tt.in, tt.port)
			if !errors.Is(err, tt.err) || got != tt.want {
				t.Errorf("ParseAuthority(%q, %d) = %v, %v; want %v, %v", tt.in, tt.port, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestLooksNumeric(t *testing.T) {
	for host, want := range map[string]bool{
		"10.0.0.1": true, "127.1": true, "2130706433": true, "0x7f000001": true, "0x7f.1": true, "0177.0.0.01": true,
		"1.2.3.4.5": true, "a.0x": true, "a.1": true, "1.a": false, "0x.a": false, "a.0xg": false, "1a": false, "a1.test": false,
	} {
		if got := NumericHost(host); got != want {
			t.Errorf("NumericHost(%q) = %v", host, got)
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
		got, err := ParseAuthority(s, 443)
		if err != nil {
			return
		}
		if got.Port < 1 || got.Port > 65535 || got.Host == "" || len(got.Host) > maxHostLen {
			t.Fatalf("%q gave %v", s, got)
		}
		if strings.Trim(got.Host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" || strings.HasSuffix(got.Host, ".") {
			t.Fatalf("%q gave the host %q", s, got.Host)
		}
		if again, err := ParseAuthority(got.Host, got.Port); err != nil || again != got {
			t.Fatalf("%q gave %v, which gives %v, %v", s, got, again, err)
		}
		u, err := url.Parse("https://" + got.Host + ":" + strconv.Itoa(got.Port) + "/")
		if err != nil || u.Hostname() != got.Host || u.User != nil {
			t.Fatalf("net/url reads %v, %v from %v", u, err, got)
		}
	})
}
