package egress

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// FuzzPin compares what passes with what a server reads: whatever net/url makes
// of a query or a header that was let through, no known name has a value.
func FuzzPin(f *testing.F) {
	f.Add("a=1&access_token=x", "Authorization", "Bearer x")
	f.Add("%61pi%5Fkey=x;b", "X_api-key", "placeholder-of-the-guest")
	f.Add("key=placeholder-of-the-guest&sig=&q=%zz", "Sec-Websocket-Protocol", "a, bearer.x")
	f.Add("token=Bearer+placeholder-of-the-guest", "Cookie", "Basic Og==")
	t, err := newTable([]sidecars.Route{{Host: "auth.test", Auth: &sidecars.Auth{Scheme: sidecars.SchemeBearer, Slot: "T0"}}},
		map[string]secret.Value{"T0": secret.New(testToken)})
	check(f, err)
	pins, to := newPinning([]string{testPlaceholder}), t.lookup("auth.test")
	f.Fuzz(func(t *testing.T, query, name, value string) {
		a := ask{to: authority{Host: "auth.test", Port: 443}, query: query, header: http.Header{}}
		a.header[http.CanonicalHeaderKey(name)] = []string{value}
		kept, no := pins.check(a, to)
		if no != nil {
			if no.Layer != layerPin || len(value) > 20 && strings.Contains(no.Message+no.Ask, value) {
				t.Fatalf("refusal %+v", no)
			}
			return
		}
		read, _ := url.ParseQuery(kept) // what it can read counts, whatever the rest is
		for _, known := range []string{"access_token", "api_key", "apikey", "apiKey", "api-key", "key", "token", "sig", "signature", "X-Amz-Signature", "authorization"} {
			for _, v := range read[known] {
				if !pins.stands(v) && !pins.authorizes(v) {
					t.Fatalf("%q passes as %q, and %s is %q", query, kept, known, v)
				}
			}
		}
		out := requestHeader(agentHeader(a.header, to.auth), to.auth)
		for _, known := range []string{"X-Api-Key", "Private-Token", "Proxy-Authorization", "Cookie"} {
			if out.Get(known) != "" {
				t.Fatalf("%s passes with %q", known, out.Get(known))
			}
		}
		if got := out["Authorization"]; len(got) != 1 || got[0] != "Bearer "+testToken {
			t.Fatalf("Authorization is %d values", len(got))
		}
	})
}

func TestSameHeader(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"X-Api-Key", "x_api_key", true},
		{"X-API-KEY", "X-Api-Key", true},
		{"X-Api-Key", "X-Api-Keys", false},
		{"X-Api-Key", "X-Apj-Key", false},
		{"", "", true},
	} {
		if sameHeader(c.a, c.b) != c.same || (folded(c.a) == folded(c.b)) != c.same {
			t.Errorf("%q and %q", c.a, c.b)
		}
	}
}
