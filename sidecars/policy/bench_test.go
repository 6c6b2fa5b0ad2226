package policy

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// tenMatches is a route with ten matches of every kind; the last allows.
func tenMatches() sidecars.Route {
	r := sidecars.Route{Host: "api.test"}
	for i := range 9 {
		m := sidecars.Match{Methods: []string{"GET", "POST"}}
		switch i % 3 {
		case 0:
			m.Paths = []sidecars.PathMatch{{Type: sidecars.MatchPrefix, Value: fmt.Sprintf("/v%d/models", i)}}
		case 1:
			m.Paths = []sidecars.PathMatch{{Type: sidecars.MatchExact, Value: fmt.Sprintf("/v%d/messages", i)}}
		case 2:
			m.Paths = []sidecars.PathMatch{{Type: sidecars.MatchRegex, Value: fmt.Sprintf("/repos/[a-z]+/%d/.*", i)}}
		}
		r.Matches = append(r.Matches, m)
	}
	r.Matches = append(r.Matches, sidecars.Match{
		Methods: []string{"POST"}, Paths: []sidecars.PathMatch{{Type: sidecars.MatchPrefix, Value: "/v1"}},
		Headers: []sidecars.HeaderMatch{{Name: "X-Team", Value: "blue"}},
	})
	return r
}

func BenchmarkDecide(b *testing.B) {
	header := http.Header{
		"Accept": {"application/json"}, "Content-Type": {"application/json"}, "User-Agent": {"client/1.0"}, "Accept-Encoding": {"gzip, br"},
		"X-Team": {"blue"}, "X-Request-Id": {"4711"}, "Anthropic-Version": {"2023-06-01"}, "Anthropic-Beta": {"a,b"},
	}
	request := Request{Scheme: schemeHTTPS, Method: "POST", Port: 443, RawPath: "/v1/messages/batch", RawQuery: "beta=true", Header: header}
	for _, bench := range []struct {
		name, host, path string
		allow            bool
	}{
		{"host only", "a.b.wild.test", "/v1/messages", true},
		{"ten matches", "api.test", "/v1/messages", true},
		{"ten matches, escapes", "api.test", "/v1/caf%C3%A9%20au%20lait", true},
		{"refused", "api.test", "/v2/messages", false},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := compile(b, sidecars.Route{Host: "*.wild.test"}, tenMatches())
			r := request
			r.Host, r.RawPath = bench.host, bench.path
			b.ReportAllocs()
			for b.Loop() {
				if d := p.Decide(r); d.Allow != bench.allow {
					b.Fatalf("%+v", d)
				}
			}
		})
	}
}

func BenchmarkNormalizePath(b *testing.B) {
	for _, path := range []string{"/v1/messages/batches/msgbatch_0123456789", "/a%2Db/%7euser/caf%c3%a9"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := NormalizePath(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func compile(t testing.TB, routes ...sidecars.Route) *Policy {
	t.Helper()
	p, err := Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
