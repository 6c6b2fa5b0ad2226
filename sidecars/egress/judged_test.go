package egress

import (
	"bufio"
	"bytes"
	"context"
	"hash/fnv"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// everyName resolves each name to an address of its own.
type everyName struct{}

func addressOf(host string) netip.Addr {
	sum := fnv.New32a()
	_, _ = io.WriteString(sum, host)
	n := sum.Sum32()
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

func (everyName) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return []netip.Addr{addressOf(host)}, nil
}

// judgedProxy is a proxy that dials nothing and tells what it would have.
func judgedProxy(t testing.TB) (*Proxy, *dialLog) {
	t.Helper()
	cert, key, err := ca.NewAuthority("otter", time.Now().Add(time.Hour))
	check(t, err)
	lan := []string{"10.0.0.0/8"}
	d := &dialLog{}
	p, err := New(sidecars.Config{Bottle: "otter", CACert: string(cert), Routes: []sidecars.Route{
		{Host: "allowed.test", Private: lan},
		{Host: "ports.test", Ports: []int{8080}, Private: lan},
		{Host: "*.wild.test", Private: lan},
		{Host: "auth.test", Private: lan, Auth: &sidecars.Auth{Scheme: sidecars.SchemeBearer, Slot: "T0"}},
		{Host: "paths.test", Private: lan, Matches: []sidecars.Match{{Paths: []sidecars.PathMatch{{Type: sidecars.MatchPrefix, Value: "/ok"}}}}},
	}}, sidecars.Secrets{CAKey: key, Tokens: map[string]secret.Value{"T0": secret.New(testToken)}},
		Options{Log: io.Discard, Resolver: everyName{}, Dial: d.dial})
	check(t, err)
	check(t, p.journal.start())
	t.Cleanup(func() { check(t, p.journal.close()) })
	return p, d
}

// oracle reads a request as net/url does and judges it by the table above. It
// returns the address that may be dialled, "" for none.
func oracle(scheme, target, host string) string {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return ""
	}
	authority := u.Host
	if authority == "" {
		authority = host
	}
	at := &url.URL{Host: authority}
	name := strings.TrimSuffix(strings.ToLower(at.Hostname()), ".")
	port := at.Port()
	if port == "" {
		port = map[string]string{schemeHTTP: "80", schemeHTTPS: "443"}[scheme]
	}
	standard := port == "80" && scheme == schemeHTTP || port == "443" && scheme == schemeHTTPS
	switch {
	case name == "allowed.test" && standard:
	case name == "ports.test" && port == "8080":
	case name == "auth.test" && port == "443" && scheme == schemeHTTPS:
	case name == "paths.test" && standard && (u.Path == "/ok" || strings.HasPrefix(u.Path, "/ok/")):
	case strings.HasSuffix(name, ".wild.test") && len(name) > len(".wild.test") && standard:
	default:
		return ""
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return ""
	}
	return netip.AddrPortFrom(addressOf(name), uint16(n)).String()
}

// FuzzJudgedIsDialled has every request dial what the policy allowed, by the
// reading of a library that is not ours, and nothing else: in the clear, and in a
// tunnel, whose host is the only one that may be reached through it.
func FuzzJudgedIsDialled(f *testing.F) {
	for _, s := range [][3]string{
		{"http://allowed.test/", "allowed.test", ""}, {"http://ALLOWED.test./x", "allowed.test:80", ""}, {"http://allowed.test:81/", "allowed.test:81", ""},
		{"http://ports.test:8080/", "ports.test:8080", ""}, {"http://evil.test/", "allowed.test", ""}, {"http://allowed.test@evil.test/", "evil.test", ""},
		{"http://a.wild.test/", "a.wild.test", ""}, {"http://a.b.wild.test/", "a.b.wild.test", ""}, {"http://paths.test/ok/../x", "paths.test", ""}, {"http://paths.test/ok/x", "paths.test", ""},
		{"/", "allowed.test", "allowed.test"}, {"/", "evil.test", "allowed.test"}, {"https://auth.test/x", "auth.test", "auth.test"}, {"https://evil.test/", "auth.test", "auth.test"},
		{"/ok%2f..%2fx", "paths.test", "paths.test"}, {"/ok/x?y#z", "paths.test:443", "paths.test"}, {"//evil.test/x", "allowed.test", "allowed.test"}, {"http:allowed.test", "allowed.test", ""},
	} {
		f.Add(s[0], s[1], s[2])
	}
	p, dialled := judgedProxy(f)
	f.Fuzz(func(t *testing.T, target, host, tunnelled string) {
		s, scheme := session{}, schemeHTTP
		if tunnelled != "" {
			switch tunnelled {
			case "allowed.test", "auth.test", "paths.test", "a.wild.test":
			default:
				return // no tunnel is opened to it
			}
			s.tunnel, scheme = &tunnel{to: authority{Host: tunnelled, Port: 443}, scheme: schemeHTTPS}, schemeHTTPS
		}
		raw := "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
		g := newGuard(stream{r: strings.NewReader(raw)}, s.tunnel, 64<<10)
		passed, err := io.ReadAll(g)
		if err != nil || g.found.Load() != nil || len(passed) == 0 {
			return // refused before anything is known of it
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(passed)))
		if err != nil {
			t.Fatalf("net/http does not read what passed: %v\n%q", err, passed)
		}
		s.guard = g
		*dialled = dialLog{}
		r = r.WithContext(context.WithValue(t.Context(), sessionKey{}, s))
		answer := httptest.NewRecorder()
		p.ServeHTTP(answer, r)
		want := oracle(scheme, target, host)
		if tunnelled != "" && want != netip.AddrPortFrom(addressOf(tunnelled), 443).String() {
			want = ""
		}
		if got := dialled.String(); got != "" && got != want {
			t.Fatalf("%q dials %s, and only %q may be: %s", raw, got, want, answer.Body)
		}
		if dialled.String() == "" && answer.Code == http.StatusBadGateway {
			t.Fatalf("%q was allowed and nothing was dialled: %s", raw, answer.Body)
		}
	})
}
