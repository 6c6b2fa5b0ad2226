package egress

import (
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

func policyTable(t testing.TB) *table {
	t.Helper()
	table, err := newTable([]sidecars.Route{
		{Host: "allowed.test"},
		{Host: "*.wild.test"},
		{Host: "ports.test", Ports: []int{8080, 8443}},
		{Host: "auth.test", Auth: &sidecars.Auth{Scheme: "token", Slot: "T"}},
		{Host: "10.0.0.1", Private: []string{"10.0.0.1"}},
	}, map[string]secret.Value{"T": secret.New("x")})
	check(t, err)
	return table
}

func TestDecide(t *testing.T) {
	const get = "GET"
	tests := []struct {
		name   string
		ask    ask
		reason string // "" allows
		rule   string
	}{
		{"https", ask{method: get, scheme: "https", to: authority{Host: "allowed.test", Port: 443}}, "", "allowed.test"},
		{"http", ask{method: get, scheme: "http", to: authority{Host: "allowed.test", Port: 80}}, "", "allowed.test"},
		{"https on 80", ask{method: get, scheme: "https", to: authority{Host: "allowed.test", Port: 80}}, reasonPortNotAllowed, "allowed.test"},
		{"http on 443", ask{method: get, scheme: "http", to: authority{Host: "allowed.test", Port: 443}}, reasonPortNotAllowed, "allowed.test"},
		{"ssh port", ask{method: get, scheme: "https", to: authority{Host: "allowed.test", Port: 22}}, reasonPortNotAllowed, "allowed.test"},
		{"listed port", ask{method: get, scheme: "https", to: authority{Host: "ports.test", Port: 8443}}, "", "ports.test"},
		{"listed ports replace the default", ask{method: get, scheme: "https", to: authority{Host: "ports.test", Port: 443}}, reasonPortNotAllowed, "ports.test"},
		{"unlisted", ask{method: get, scheme: "https", to: authority{Host: "evil.test", Port: 443}}, reasonHostNotAllowed, ""},
		{"below an exact name", ask{method: get, scheme: "https", to: authority{Host: "a.allowed.test", Port: 443}}, reasonHostNotAllowed, ""},
		{"wildcard", ask{method: get, scheme: "https", to: authority{Host: "a.b.wild.test", Port: 443}}, "", "*.wild.test"},
		{"wildcard's apex", ask{method: get, scheme: "https", to: authority{Host: "wild.test", Port: 443}}, reasonHostNotAllowed, ""},
		{"named address", ask{method: get, scheme: "https", to: authority{Host: "10.0.0.1", Port: 443}}, "", "10.0.0.1"},
		{"other address", ask{method: get, scheme: "https", to: authority{Host: "10.0.0.2", Port: 443}}, reasonIPLiteral, ""},
		{"octal address", ask{method: get, scheme: "https", to: authority{Host: "012.0.0.1", Port: 443}}, reasonIPLiteral, ""},
		{"address below a wildcard's form", ask{method: get, scheme: "https", to: authority{Host: "1.2.3.4", Port: 443}}, reasonIPLiteral, ""},
		{"credential over http", ask{method: get, scheme: "http", to: authority{Host: "auth.test", Port: 80}}, reasonPlainHTTP, "auth.test"},
		{"credential over https", ask{method: get, scheme: "https", to: authority{Host: "auth.test", Port: 443}}, "", "auth.test"},
		{"trace", ask{method: "TRACE", scheme: "https", to: authority{Host: "allowed.test", Port: 443}}, reasonMethod, "allowed.test"},
		{"track", ask{method: "TRACK", scheme: "https", to: authority{Host: "allowed.test", Port: 443}}, reasonMethod, "allowed.test"},
		{"connect inside", ask{method: "CONNECT", scheme: "https", inTunnel: true, to: authority{Host: "allowed.test", Port: 443}}, reasonConnectInside, "allowed.test"},
		{"websocket", ask{method: get, scheme: "https", upgrade: "WebSocket", to: authority{Host: "allowed.test", Port: 443}}, "", "allowed.test"},
		{"h2c", ask{method: get, scheme: "http", upgrade: "h2c", to: authority{Host: "allowed.test", Port: 80}}, reasonUpgrade, "allowed.test"},
		{"two upgrades", ask{method: get, scheme: "https", upgrade: "websocket, h2c", to: authority{Host: "allowed.test", Port: 443}}, reasonUpgrade, "allowed.test"},
		{"other upgrade", ask{method: get, scheme: "https", upgrade: "tls/1.0", to: authority{Host: "allowed.test", Port: 443}}, reasonUpgrade, "allowed.test"},
	}
	table := policyTable(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, no := table.decide(tt.ask)
			switch {
			case no == nil && tt.reason != "":
				t.Errorf("allowed, want %s", tt.reason)
			case no != nil && (no.Reason != tt.reason || no.Rule != tt.rule):
				t.Errorf("%s by %q, want %s by %q", no.Reason, no.Rule, tt.reason, tt.rule)
			case no == nil && r.rule != tt.rule:
				t.Errorf("allowed by %q, want %q", r.rule, tt.rule)
			case no != nil && (no.Layer == "" || no.Message == "" || no.Ask == "" || no.Status < 400):
				t.Errorf("refusal is incomplete: %+v", no)
			}
		})
	}
}

// FuzzDecide checks the promise itself with an independent, naive reading of
// the table: nothing is allowed that no route names.
func FuzzDecide(f *testing.F) {
	f.Add("GET", "https", "allowed.test:443", "/", "", "")
	f.Add("POST", "http", "x.wild.test:80", "/a/git-receive-pack", "", "h2c")
	f.Add("GET", "https", "auth.test:443", "/info/refs", "service=git-receive-pack", "websocket")
	f.Add("GET", "http", "127.1:80", "/", "", "")
	table := policyTable(f)
	f.Fuzz(func(t *testing.T, method, scheme, to, path, query, upgrade string) {
		dest, err := policy.ParseAuthority(to, 443)
		if err != nil || scheme != schemeHTTP && scheme != schemeHTTPS {
			return
		}
		r, no := table.decide(ask{method: method, scheme: scheme, to: dest, path: path, query: query, upgrade: upgrade})
		if (r == nil) == (no == nil) {
			t.Fatal("neither or both of a route and a refusal")
		}
		if no != nil {
			return
		}
		named := false
		for _, host := range []string{"allowed.test", "ports.test", "auth.test", "10.0.0.1"} {
			named = named || dest.Host == host
		}
		named = named || strings.HasSuffix(dest.Host, ".wild.test") && len(dest.Host) > len(".wild.test")
		if !named {
			t.Fatalf("%v is allowed by %q", dest, r.rule)
		}
		if dest.Host == "auth.test" && scheme == schemeHTTP {
			t.Fatal("a credential would go in the clear")
		}
		if method == "TRACE" || method == "CONNECT" || strings.HasSuffix(path, "/git-receive-pack") {
			t.Fatalf("%s %s is allowed", method, path)
		}
	})
}
