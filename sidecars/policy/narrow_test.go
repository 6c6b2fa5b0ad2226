package policy

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func narrowParent(t testing.TB) *Policy {
	t.Helper()
	return compile(t,
		sidecars.Route{Host: "*.ex.test", Ports: []int{443}, Auth: &sidecars.Auth{Scheme: "Bearer", Slot: "A"}},
		sidecars.Route{Host: "admin.ex.test", Matches: []sidecars.Match{{Methods: []string{"GET"}}}},
		sidecars.Route{Host: "api.test", GitFetch: true, Matches: []sidecars.Match{
			{Paths: paths(prefix("/v1"), exact("/health")), Methods: []string{"GET", "POST"}},
			{Paths: paths(regex("/v2/[a-z]+")), Methods: []string{"GET"}, Headers: []sidecars.HeaderMatch{{Name: "X-A", Value: "1"}}},
		}},
	)
}

func TestNarrow(t *testing.T) {
	auth := &sidecars.Auth{Scheme: "Bearer", Slot: "A"}
	p := narrowParent(t)
	all := p.Routes()
	header := []sidecars.HeaderMatch{{Name: "X-A", Type: "exact", Value: "1"}}
	tests := []struct {
		name string
		req  NarrowRequest
		want []sidecars.Route
	}{
		{"everything", NarrowRequest{}, all},
		{"nothing", NarrowRequest{Hosts: []string{}}, []sidecars.Route{}},
		{"one host", NarrowRequest{Hosts: []string{" API.test "}}, all[2:]},
		{"wildcard with what is below", NarrowRequest{Hosts: []string{"*.ex.test"}}, all[:2]},
		{"name of a wildcard", NarrowRequest{Hosts: []string{"x.ex.test", "api.test"}},
			[]sidecars.Route{all[2], {Host: "x.ex.test", Ports: []int{443}, Auth: auth}}},
		{"narrower wildcard", NarrowRequest{Hosts: []string{"*.x.ex.test"}}, []sidecars.Route{{Host: "*.x.ex.test", Ports: []int{443}, Auth: auth}}},
		{"methods of a whole route", NarrowRequest{Hosts: []string{"*.ex.test"}, Methods: map[string][]string{"*.ex.test": {"get", "HEAD"}}},
			[]sidecars.Route{{Host: "*.ex.test", Ports: []int{443}, Auth: auth, Matches: []sidecars.Match{{Methods: []string{"GET", "HEAD"}}}}, all[1]}},
		{"paths of a name below", NarrowRequest{Paths: map[string][]sidecars.PathMatch{"x.ex.test": {prefix("/a/")}}},
			append(p.Routes(), sidecars.Route{Host: "x.ex.test", Ports: []int{443}, Auth: auth, Matches: []sidecars.Match{{Paths: paths(prefix("/a"))}}})},
		{"paths within matches", NarrowRequest{Hosts: []string{"api.test"}, Paths: map[string][]sidecars.PathMatch{"api.test": {prefix("/v1/models"), exact("/v2/x")}}},
			[]sidecars.Route{{Host: "api.test", GitFetch: true, Matches: []sidecars.Match{
				{Paths: paths(prefix("/v1/models")), Methods: []string{"GET", "POST"}}, {Paths: paths(exact("/v2/x")), Methods: []string{"GET"}, Headers: header},
			}}}},
		{"matches within paths", NarrowRequest{Hosts: []string{"api.test"}, Paths: map[string][]sidecars.PathMatch{"api.test": {prefix("/v2")}}},
			[]sidecars.Route{{Host: "api.test", GitFetch: true, Matches: []sidecars.Match{{Paths: paths(regex("/v2/[a-z]+")), Methods: []string{"GET"}, Headers: header}}}}},
		{"methods of matches", NarrowRequest{Hosts: []string{"api.test"}, Methods: map[string][]string{"api.test": {"POST"}}},
			[]sidecars.Route{{Host: "api.test", GitFetch: true, Matches: []sidecars.Match{{Paths: paths(prefix("/v1"), exact("/health")), Methods: []string{"POST"}}}}}},
		{"both", NarrowRequest{Hosts: []string{"api.test"}, Methods: map[string][]string{"api.test": {"GET"}}, Paths: map[string][]sidecars.PathMatch{"api.test": {exact("/health")}}},
			[]sidecars.Route{{Host: "api.test", GitFetch: true, Matches: []sidecars.Match{{Paths: paths(exact("/health")), Methods: []string{"GET"}}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Narrow(p, tt.req)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Narrow = %+v, %v\nwant     %+v", got, err, tt.want)
			}
		})
	}
	if !reflect.DeepEqual(p.Routes(), all) {
		t.Error("narrowing changed the policy")
	}
}

func TestNarrowRefuses(t *testing.T) {
	type methods = map[string][]string
	type rules = map[string][]sidecars.PathMatch
	tests := []struct {
		name        string
		req         NarrowRequest
		field, host string
		want        string
	}{
		{"unknown host", NarrowRequest{Hosts: []string{"evil.test"}}, "hosts", "evil.test", "does not allow"},
		{"wider wildcard", NarrowRequest{Hosts: []string{"*.api.test"}}, "hosts", "*.api.test", "does not allow"},
		{"wildcard's apex", NarrowRequest{Hosts: []string{"ex.test"}}, "hosts", "ex.test", "does not allow"},
		{"no host", NarrowRequest{Hosts: []string{"https://api.test"}}, "hosts", "https://api.test", "not a host"},
		{"everything", NarrowRequest{Hosts: []string{"*"}}, "hosts", "*", "not a host"},
		{"top level", NarrowRequest{Hosts: []string{"*.test"}}, "hosts", "*.test", "two labels"},
		{"methods of a dropped host", NarrowRequest{Hosts: []string{"api.test"}, Methods: methods{"x.ex.test": {"GET"}}}, "methods", "x.ex.test", "does not allow"},
		{"empty methods", NarrowRequest{Methods: methods{"api.test": {}}}, "methods", "api.test", "empty"},
		{"empty paths", NarrowRequest{Paths: rules{"api.test": nil}}, "paths", "api.test", "empty"},
		{"broken method", NarrowRequest{Methods: methods{"api.test": {"G T"}}}, "methods", "api.test", "upper-case"},
		{"broken path", NarrowRequest{Paths: rules{"api.test": {exact("/a/..")}}}, "paths", "api.test", "dots"},
		{"method beyond", NarrowRequest{Methods: methods{"api.test": {"GET", "DELETE"}}}, "methods", "api.test", "DELETE is not allowed"},
		{"path beyond", NarrowRequest{Paths: rules{"api.test": {prefix("/v1"), prefix("/v3")}}}, "paths", "api.test", "/v3 and below is not allowed"},
		{"path of another method", NarrowRequest{Paths: rules{"api.test": {exact("/v2/x")}}, Methods: methods{"api.test": {"POST"}}}, "paths", "api.test", "with these methods"},
	}
	p := narrowParent(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Narrow(p, tt.req)
			var no *NarrowError
			if got != nil || !errors.As(err, &no) || no.Field != tt.field || no.Host != tt.host || !strings.Contains(no.Problem, tt.want) {
				t.Fatalf("Narrow = %v, %v; want an error about %s of %s with %q", got, err, tt.field, tt.host, tt.want)
			}
			if strings.Contains(no.Problem, "this host") && len(no.Allowed) != 3 {
				t.Errorf("allowed = %q", no.Allowed)
			}
		})
	}
	t.Run("all at once", func(t *testing.T) {
		_, err := Narrow(p, NarrowRequest{Hosts: []string{"a.test", "b.test", "api.test"}, Methods: methods{"c.test": {}}})
		if err == nil || strings.Count(err.Error(), "\n") != 2 {
			t.Errorf("error = %v, want three mistakes", err)
		}
	})
}

// What is left allows only what was asked for and what was allowed.
func TestNarrowIsBoth(t *testing.T) {
	g := newGenerator(4)
	narrowed, told := 0, 0
	for range 3000 {
		routes := g.routes()
		p := compile(t, routes...)
		var req NarrowRequest
		if g.chance(50) {
			req.Hosts = some(g, 3, "*.ex.test", "*.a.ex.test", "x.ex.test", "a.ex.test", "x.a.ex.test", "y.test", routes[0].Host)
		}
		host := one(g, routes...).Host
		want := sidecars.Match{Paths: paths(g.path())}
		if g.chance(70) {
			req.Paths = map[string][]sidecars.PathMatch{host: want.Paths}
		}
		if want.Methods = some(g, 2, "GET", "POST", "DELETE"); g.chance(50) {
			req.Methods = map[string][]string{host: want.Methods}
		}
		left, err := Narrow(p, req)
		var beyond *BeyondError
		if errors.As(err, &beyond) {
			t.Fatalf("%+v: %v\n%s", req, err, describe(routes, nil, probe{}))
		}
		if err != nil {
			continue
		}
		narrowed++
		child := compile(t, left...)
		for range requestsPerPair {
			q := g.probe(left)
			d := child.Decide(q.Request)
			if !d.Allow {
				continue
			}
			told++
			if !p.Decide(q.Request).Allow {
				t.Fatalf("%+v allows more:\n%s", req, describe(routes, left, q))
			}
			if d.Rule != host || gitUseOf(&q.Request) == gitFetch {
				continue
			}
			if req.Methods == nil {
				want.Methods = nil
			}
			if req.Paths == nil {
				want.Paths = nil
			}
			if len(want.Paths)+len(want.Methods) == 0 {
				continue
			}
			asked := compile(t, sidecars.Route{Host: host, Ports: []int{q.Port}, Private: []string{"10.0.0.1"}, Matches: []sidecars.Match{want}})
			if !asked.Decide(q.Request).Allow {
				t.Fatalf("%+v is not kept to:\n%s", req, describe(routes, left, q))
			}
		}
	}
	if narrowed < 500 || told < 2000 {
		t.Errorf("%d narrowed and %d requests allowed tell too little", narrowed, told)
	}
}
