package egress

import (
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

func TestNewTableRefuses(t *testing.T) {
	tokens := map[string]secret.Value{
		"GOOD": secret.New("abc"), "EMPTY": secret.New(""), "NEWLINE": secret.New("abc\r\nX: y"), "BLANK": secret.New("a b"), "HIGH": secret.New("é"),
	}
	auth := func(scheme, slot string) *sidecars.Auth { return &sidecars.Auth{Scheme: scheme, Slot: slot} }
	tests := []struct {
		name  string
		route sidecars.Route
		want  string
	}{
		{"no host", sidecars.Route{}, "empty"},
		{"everything", sidecars.Route{Host: "*"}, "first labels"},
		{"top-level wildcard", sidecars.Route{Host: "*.com"}, "two labels"},
		{"top-level wildcard with dot", sidecars.Route{Host: "*.com."}, "two labels"},
		{"wildcard of nothing", sidecars.Route{Host: "*."}, "two labels"},
		{"wildcard in the middle", sidecars.Route{Host: "a.*.example.com"}, "first labels"},
		{"wildcard within a label", sidecars.Route{Host: "a*.example.com"}, "first labels"},
		{"two wildcards", sidecars.Route{Host: "*.*.example.com"}, "first labels"},
		{"wildcard of addresses", sidecars.Route{Host: "*.0.0.1"}, "cannot cover addresses"},
		{"upper case", sidecars.Route{Host: "Example.com"}, `"example.com"`},
		{"trailing dot", sidecars.Route{Host: "example.com."}, `"example.com"`},
		{"scheme", sidecars.Route{Host: "https://example.com"}, "character"},
		{"port in host", sidecars.Route{Host: "example.com:443"}, "character"},
		{"not ASCII", sidecars.Route{Host: "bücher.test"}, "ASCII"},
		{"NUL", sidecars.Route{Host: "a\x00.test"}, "control"},
		{"own name", sidecars.Route{Host: localHost}, "own"},
		{"duplicate", sidecars.Route{Host: "first.test"}, "already"},
		{"address without private", sidecars.Route{Host: "10.0.0.1"}, "private"},
		{"address in a private prefix only", sidecars.Route{Host: "10.0.0.1", Private: []string{"10.0.0.0/8"}}, "exactly"},
		{"odd address", sidecars.Route{Host: "127.1", Private: []string{"127.0.0.1"}}, "dotted"},
		{"IPv6 address", sidecars.Route{Host: "::1", Private: []string{"::1"}}, "character"},
		{"port 0", sidecars.Route{Host: "a.test", Ports: []int{0}}, "port 0"},
		{"port 65536", sidecars.Route{Host: "a.test", Ports: []int{65536}}, "port 65536"},
		{"port twice", sidecars.Route{Host: "a.test", Ports: []int{1, 1}}, "twice"},
		{"not an address", sidecars.Route{Host: "a.test", Private: []string{"intranet"}}, "neither"},
		{"host bits", sidecars.Route{Host: "a.test", Private: []string{"10.0.0.1/8"}}, "10.0.0.0/8"},
		{"everything private", sidecars.Route{Host: "a.test", Private: []string{"0.0.0.0/0"}}, "too wide"},
		{"everything private, IPv6", sidecars.Route{Host: "a.test", Private: []string{"::/0"}}, "too wide"},
		{"mapped address", sidecars.Route{Host: "a.test", Private: []string{"::ffff:10.0.0.1"}}, "mapped"},
		{"mapped prefix", sidecars.Route{Host: "a.test", Private: []string{"::ffff:10.0.0.0/104"}}, "mapped"},
		{"zone", sidecars.Route{Host: "a.test", Private: []string{"fe80::1%eth0"}}, "zone"},
		{"unknown scheme", sidecars.Route{Host: "a.test", Auth: auth("Digest", "GOOD")}, "scheme"},
		{"no slot", sidecars.Route{Host: "a.test", Auth: auth("Bearer", "MISSING")}, "MISSING"},
		{"empty token", sidecars.Route{Host: "a.test", Auth: auth("Bearer", "EMPTY")}, "EMPTY"},
		{"token with newline", sidecars.Route{Host: "a.test", Auth: auth("Bearer", "NEWLINE")}, "bare token"},
		{"token with blank", sidecars.Route{Host: "a.test", Auth: auth("token", "BLANK")}, "bare token"},
		{"token not ASCII", sidecars.Route{Host: "a.test", Auth: auth("token", "HIGH")}, "bare token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newTable([]sidecars.Route{{Host: "first.test"}, tt.route}, tokens)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "routes[1]") {
				t.Errorf("error = %v, want one about routes[1] with %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "X: y") {
				t.Error("the error shows a token")
			}
		})
	}
	t.Run("all mistakes at once", func(t *testing.T) {
		_, err := newTable([]sidecars.Route{{Host: "*"}, {Host: "A"}}, nil)
		if err == nil || !strings.Contains(err.Error(), "routes[0]") || !strings.Contains(err.Error(), "routes[1]") {
			t.Errorf("error = %v, want both mistakes", err)
		}
	})
	t.Run("too many", func(t *testing.T) {
		if _, err := newTable(make([]sidecars.Route, 4097), nil); err == nil {
			t.Error("no error")
		}
	})
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name string
		cfg  sidecars.Config
		opts Options
		want string
	}{
		{"no log", sidecars.Config{Bottle: "b"}, Options{}, "log"},
		{"no bottle", sidecars.Config{}, Options{Log: &logBuffer{}}, "bottle"},
		{"no authority", sidecars.Config{Bottle: "b"}, Options{Log: &logBuffer{}}, "certificate"},
		{"bad route", sidecars.Config{Bottle: "b", Routes: []sidecars.Route{{Host: "*"}}}, Options{Log: &logBuffer{}}, "routes[0]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.cfg, sidecars.Secrets{}, tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	table, err := newTable([]sidecars.Route{
		{Host: "example.com"}, {Host: "*.example.com"}, {Host: "*.deep.example.com"}, {Host: "only.deep.example.com"},
		{Host: "10.0.0.1", Private: []string{"10.0.0.1"}},
	}, nil)
	check(t, err)
	for host, want := range map[string]string{
		"example.com": "example.com", "a.example.com": "*.example.com", "a.b.example.com": "*.example.com",
		"deep.example.com": "*.example.com", "x.deep.example.com": "*.deep.example.com", "only.deep.example.com": "only.deep.example.com",
		"10.0.0.1": "10.0.0.1", "10.0.0.2": "", "notexample.com": "", "com": "", "example.com.evil.test": "", "xexample.com": "",
	} {
		got := ""
		if r := table.lookup(host); r != nil {
			got = r.rule
		}
		if got != want {
			t.Errorf("lookup(%q) = %q, want %q", host, got, want)
		}
	}
}
