package images

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "scutil", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestScutilResolvers(t *testing.T) {
	for name, want := range map[string][]string{
		"home":      {"192.168.178.1"}, // not twice, and no IPv6
		"vpn-all":   {"10.20.0.53", "10.20.1.53"},
		"vpn-split": {"192.168.1.1"}, // not loopback, not a domain's, not another port's, not scoped
		"ipv6-only": {},
		"none":      {},
	} {
		t.Run(name, func(t *testing.T) {
			if got := texts(scutilResolvers(fixture(t, name))); !slices.Equal(got, want) {
				t.Errorf("resolvers %v, want %v", got, want)
			}
		})
	}
	for name, text := range map[string]string{
		"empty":                 "",
		"heading alone":         "DNS configuration\n",
		"multicast only":        "resolver #1\n  nameserver[0] : 10.0.0.1\n  options : mdns\n",
		"link-local":            "resolver #1\n  nameserver[0] : 169.254.1.1\n",
		"unspecified":           "resolver #1\n  nameserver[0] : 0.0.0.0\n",
		"broadcast":             "resolver #1\n  nameserver[0] : 255.255.255.255\n",
		"no address":            "resolver #1\n  nameserver[0] : router.lan\n  nameserver[1] :\n  nameserver[2]\n",
		"scoped only":           "DNS configuration (for scoped queries)\n\nresolver #1\n  nameserver[0] : 10.0.0.1\n",
		"second for one domain": "resolver #1\nresolver #2\n  domain : a\n  nameserver[0] : 10.0.0.1\n",
	} {
		t.Run(name, func(t *testing.T) {
			if got := scutilResolvers([]byte(text)); got != nil {
				t.Errorf("resolvers %v, want none", got)
			}
		})
	}
}

func TestResolverChoice(t *testing.T) {
	home := fixture(t, "home")
	for name, tc := range map[string]struct {
		setting string
		scutil  []byte
		failure error
		conf    string
		want    string
	}{
		"override":             {"10.0.0.1", home, nil, "nameserver 10.9.9.9", "10.0.0.1"},
		"override with both":   {" 10.0.0.1, 10.0.0.2\t2001:db8::53 10.0.0.1 ", home, nil, "", "10.0.0.1 10.0.0.2 2001:db8::53"},
		"mapped":               {"::ffff:10.0.0.1", nil, nil, "", "10.0.0.1"},
		"blank is unset":       {"  ", home, nil, "", "192.168.178.1"},
		"host":                 {"", home, nil, "nameserver 10.9.9.9", "192.168.178.1"},
		"IPv6 only: conf":      {"", fixture(t, "ipv6-only"), nil, "# x\nsearch lan\nnameserver 2001:db8::1\nnameserver 10.9.9.9\n", "10.9.9.9"},
		"scutil fails: conf":   {"", nil, errors.New("no"), "nameserver 127.0.0.53\nnameserver\t10.9.9.9 # home\n", "10.9.9.9"},
		"three at most":        {"", nil, nil, strings.Repeat("nameserver 10.0.0.1\n", 2) + "nameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n", "10.0.0.1 10.0.0.2 10.0.0.3"},
		"only a local service": {"", nil, nil, "nameserver 127.0.0.53\noptions edns0\n", fallbackResolver},
		"nothing":              {"", nil, nil, "", fallbackResolver},
	} {
		t.Run(name, func(t *testing.T) {
			i := newImages(t, newFake(), env{EnvDNS: tc.setting})
			i.cfg.ResolverText = func(context.Context) ([]byte, error) { return tc.scutil, tc.failure }
			if tc.conf != "" {
				if err := os.WriteFile(i.cfg.ResolvConf, []byte(tc.conf), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			addrs, err := i.Resolvers(t.Context())
			if got := strings.Join(texts(addrs), " "); err != nil || got != tc.want {
				t.Errorf("resolvers %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestResolverOverrideRefused(t *testing.T) {
	for _, value := range []string{
		"router.lan", "10.0.0.1,nonsense", "10.0.0.1/24", "10.0.0.1:53", "fe80::1%en0", "fe80::1", "127.0.0.1", "::1", "0.0.0.0",
		"224.0.0.251", "255.255.255.255", ",", "1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4", "--dns", "::ffff:127.0.0.1",
	} {
		t.Run(value, func(t *testing.T) {
			i := newImages(t, newFake(), env{EnvDNS: value})
			_, err := i.Resolvers(t.Context())
			mustContain(t, err, EnvDNS)
		})
	}
}

func TestResolversCancelled(t *testing.T) {
	i := newImages(t, newFake(), env{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	i.cfg.ResolverText = func(ctx context.Context) ([]byte, error) { return nil, ctx.Err() }
	if _, err := i.Resolvers(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func FuzzScutil(f *testing.F) {
	for _, name := range []string{"home", "vpn-all", "vpn-split", "ipv6-only", "none"} {
		f.Add(fixture(f, name))
	}
	f.Add([]byte("resolver #1\n nameserver[0] : ::ffff:10.0.0.1\nnameserver[1] : 10.0.0.1%1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, addrs := range [][]string{texts(scutilResolvers(text)), texts(confResolvers(text))} {
			if len(addrs) > maxResolvers {
				t.Errorf("%d resolvers", len(addrs))
			}
			if len(addrs) == 0 {
				continue
			}
			// Whatever is taken from the host would be taken from the operator.
			parsed, err := parseResolvers(strings.Join(addrs, ","))
			if err != nil || !slices.Equal(texts(parsed), addrs) {
				t.Errorf("%v: %v", addrs, err)
			}
			for _, a := range parsed {
				if !a.Is4() || !strings.Contains(string(text), a.String()) {
					t.Errorf("%s was not in the text", a)
				}
			}
		}
	})
}
