package provision

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// narrowBed has a bottle with an exact host, a wildcard, matches and a credential.
func narrowBed(t *testing.T) *bed {
	t.Helper()
	b := newBed(t)
	b.setenv("TOKEN", secretToken)
	b.bottleFile("made", `egress:
  routes:
    - host: api.example.com
      auth: {scheme: Bearer, token_ref: TOKEN}
      matches:
        - {methods: [GET, POST], paths: [{type: prefix, value: /v1}]}
        - {methods: [GET], paths: [{type: exact, value: /health}]}
    - host: "*.files.example.com"
    - host: other.example.com`)
	return b
}

func TestOnly(t *testing.T) {
	b := narrowBed(t)
	tests := []struct {
		name  string
		hosts []string
		only  []OnlyRule
		want  string
	}{
		{"a host", nil, []OnlyRule{{Host: "other.example.com"}}, "only other.example.com"},
		{"nothing", nil, []OnlyRule{}, "no host can be reached"},
		{"paths", nil, []OnlyRule{{Host: "API.example.com.", Paths: []string{"/v1/models"}}}, "only api.example.com (only GET or POST on /v1/models and below; a credential is added)"},
		{"methods", nil, []OnlyRule{{Host: "api.example.com", Methods: []string{"get"}}}, "only api.example.com (only GET on /v1 and below, or GET on exactly /health; a credential is added)"},
		{"both", nil, []OnlyRule{{Host: "api.example.com", Paths: []string{"/v1"}, Methods: []string{"POST"}}}, "only api.example.com (only POST on /v1 and below; a credential is added)"},
		{"a name of a wildcard", nil, []OnlyRule{{Host: "x.files.example.com", Methods: []string{"GET"}}}, "only x.files.example.com (only GET on any path)"},
		{"some of the hosts kept", []string{"api.example.com", "other.example.com"}, []OnlyRule{{Host: "other.example.com", Paths: []string{"/a"}}},
			"only api.example.com (only GET or POST on /v1 and below, or GET on exactly /health; a credential is added), other.example.com (only any method on /a and below)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if p := b.plan(LaunchRequest{Bottles: []string{"made"}, OnlyHosts: tt.hosts, Only: tt.only}); p.Policy != tt.want {
				t.Errorf("the policy is %q, want %q", p.Policy, tt.want)
			}
		})
	}
}

func TestOnlyNeverAdds(t *testing.T) {
	b := narrowBed(t)
	all := []string{"api.example.com", "*.files.example.com", "other.example.com"}
	tests := []struct {
		name    string
		hosts   []string
		only    []OnlyRule
		field   string
		want    string
		allowed []string
	}{
		{"another host", nil, []OnlyRule{{Host: "other.example.com"}, {Host: "evil.example.net"}}, "only[1].host", "does not allow this host", all},
		{"a wider wildcard", nil, []OnlyRule{{Host: "*.example.com"}}, "only[0].host", "does not allow this host", all},
		{"a wildcard's apex", nil, []OnlyRule{{Host: "files.example.com"}}, "only[0].host", "does not allow this host", all},
		{"a URL", nil, []OnlyRule{{Host: "https://api.example.com"}}, "only[0].host", "not a host", nil},
		{"a path beyond", nil, []OnlyRule{{Host: "api.example.com", Paths: []string{"/v1/a", "/v2"}}}, "only[0].paths", "/v2 and below is not allowed there", nil},
		{"a method beyond", nil, []OnlyRule{{Host: "api.example.com", Methods: []string{"GET", "DELETE"}}}, "only[0].methods", "DELETE is not allowed there", nil},
		{"a wider path", nil, []OnlyRule{{Host: "api.example.com", Paths: []string{"/health/x"}}}, "only[0].paths", "/health/x and below is not allowed there", nil},
		{"a wildcard in a path", nil, []OnlyRule{{Host: "other.example.com", Paths: []string{"/v1/*"}}}, "only[0].paths", "leave the '*' out", nil},
		{"a query", nil, []OnlyRule{{Host: "other.example.com", Paths: []string{"/v1?x=1"}}}, "only[0].paths", "percent-encoded", nil},
		{"dots", nil, []OnlyRule{{Host: "other.example.com", Paths: []string{"/v1/../v2"}}}, "only[0].paths", "dots", nil},
		{"no paths", nil, []OnlyRule{{Host: "other.example.com", Paths: []string{}}}, "only[0].paths", "empty", nil},
		{"no methods", nil, []OnlyRule{{Host: "other.example.com", Methods: []string{}}}, "only[0].methods", "empty", nil},
		{"a host twice", nil, []OnlyRule{{Host: "other.example.com"}, {Host: "OTHER.example.com."}}, "only[1].host", "stands twice", nil},
		{"beside only_hosts", []string{"api.example.com"}, []OnlyRule{{Host: "other.example.com"}}, "only[0].host", "not among only_hosts", nil},
		{"only_hosts itself", []string{"evil.example.net"}, []OnlyRule{{Host: "evil.example.net"}}, "only_hosts", "does not allow this host", all},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := b.Plan(t.Context(), LaunchRequest{Bottles: []string{"made"}, OnlyHosts: tt.hosts, Only: tt.only, Principal: operator})
			var invalid *InvalidError
			if !errors.As(err, &invalid) || invalid.Field != tt.field || !strings.Contains(invalid.Problem, tt.want) || !slices.Equal(invalid.Allowed, tt.allowed) {
				t.Errorf("error is %v (%+v), want one about %s with %q", err, invalid, tt.field, tt.want)
			}
		})
	}
}
