package policy

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func TestCompileRefuses(t *testing.T) {
	path := func(kind, value string) sidecars.Match {
		return sidecars.Match{Paths: []sidecars.PathMatch{{Type: kind, Value: value}}}
	}
	method := func(m ...string) sidecars.Match { return sidecars.Match{Methods: m} }
	header := func(name, kind, value string) sidecars.Match {
		return sidecars.Match{Headers: []sidecars.HeaderMatch{{Name: name, Type: kind, Value: value}}}
	}
	tests := []struct {
		name  string
		match sidecars.Match
		want  string
	}{
		{"nothing", sidecars.Match{}, "leave matches out"},
		{"empty lists", sidecars.Match{Paths: []sidecars.PathMatch{}, Methods: []string{}}, "leave matches out"},
		{"no type", path("", "/a"), "not known"},
		{"glob", path("glob", "/a*"), "not known"},
		{"empty path", path("exact", ""), "empty"},
		{"relative path", path("prefix", "a"), "begin with a slash"},
		{"long path", path("exact", "/"+strings.Repeat("a", maxValue)), "longer"},
		{"path not normal", path("exact", "/%61"), `"/a"`},
		{"path in lower hex", path("prefix", "/caf%c3%a9"), `"/caf%C3%A9"`},
		{"path with dots", path("exact", "/a/../b"), "segment of dots"},
		{"path with parameters", path("prefix", "/a;b"), "semicolon"},
		{"path with query", path("exact", "/a?b=c"), "percent-encoded"},
		{"prefix with two slashes", path("prefix", "/a//"), "two slashes"},
		{"empty expression", path("regex", ""), "1 to"},
		{"long expression", path("regex", "/"+strings.Repeat("a", maxExpr)), "1 to"},
		{"broken expression", path("regex", "/a("), "RE2"},
		{"expression that closes the anchors", path("regex", "a)|(b"), "RE2"},
		{"lookahead", path("regex", "/a(?!b)"), "RE2"},
		{"backreference", path("regex", `/(a)\1`), "RE2"},
		{"large expression", path("regex", "/(a{100}){10}"), "too large"},
		{"lower-case method", method("get"), "upper-case"},
		{"method with blank", method("GET "), "upper-case"},
		{"empty method", method(""), "upper-case"},
		{"long method", method(strings.Repeat("A", 33)), "upper-case"},
		{"trace", method("TRACE"), "never allowed"},
		{"connect", method("CONNECT"), "never allowed"},
		{"method twice", method("GET", "GET"), "twice"},
		{"header without name", header("", "", "a"), "1 to"},
		{"header with colon", header("X-A:", "", "a"), "letters"},
		{"header type", header("X-A", "prefix", "a"), "not known"},
		{"empty header value", header("X-A", "", ""), "1 to"},
		{"header value with blank", header("X-A", "exact", " a"), "blank"},
		{"header value with newline", header("X-A", "", "a\r\nB: c"), "printable"},
		{"header value not ASCII", header("X-A", "", "é"), "printable"},
		{"header expression", header("X-A", "regex", "["), "RE2"},
		{"authorization", header("authorization", "", "Bearer x"), "credential"},
		{"authorization with underscore", header("x_api_key", "", "x"), "credential"},
		{"cookie", header("Cookie", "", "a=b"), "credential"},
		{"proxy header", header("Proxy-Connection", "", "a"), "does not travel"},
		{"proxy authorization", header("proxy_authorization", "", "a"), "does not travel"},
		{"hop by hop", header("TE", "", "trailers"), "does not travel"},
		{"host", header("Host", "", "a.test"), "where the request goes"},
		{"length", header("content-length", "", "0"), "where the request goes"},
		{"method override", header("X-HTTP-Method-Override", "", "GET"), "replaces"},
		{"path override", header("X_Original_URL", "", "/a"), "replaces"},
		{"header twice", sidecars.Match{Headers: []sidecars.HeaderMatch{{Name: "X-A", Value: "1"}, {Name: "x_a", Value: "2"}}}, "already"},
		{"too many methods", method(make([]string, maxMethods+1)...), "at most"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			good := sidecars.Match{Methods: []string{"GET"}}
			p, err := Compile([]sidecars.Route{{Host: "a.test"}, {Host: "b.test", Matches: []sidecars.Match{good, tt.match}}})
			var at *RouteError
			if p != nil || !errors.As(err, &at) || at.Index != 1 || at.Host != "b.test" {
				t.Fatalf("Compile = %v, %v; want an error about routes[1]", p, err)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "matches[1]: ") {
				t.Errorf("error = %v, want one about matches[1] with %q", err, tt.want)
			}
		})
	}
}

// The routes' own parts are tested where the proxy reads them, in
// sidecars/egress; here it is that all mistakes come at once.
func TestCompileGathers(t *testing.T) {
	_, err := Compile([]sidecars.Route{
		{Host: "*"},
		{Host: "a.test", Ports: []int{0, 70000}, Private: []string{"x"}, Matches: []sidecars.Match{
			{Methods: []string{"get"}, Headers: []sidecars.HeaderMatch{{Name: "Cookie", Value: "secret-of-somebody"}}},
			{Paths: []sidecars.PathMatch{{Type: "exact", Value: "a"}, {Type: "regex", Value: "("}}},
		}},
		{Host: "a.test"},
	})
	if err == nil {
		t.Fatal("no error")
	}
	text := err.Error()
	if n := strings.Count(text, "\n") + 1; n != 9 {
		t.Errorf("%d mistakes, want 9:\n%s", n, text)
	}
	for _, want := range []string{"routes[0]", "port 0", "port 70000", `private "x"`, "matches[0]: methods[0]", "matches[0]: headers[0]", "matches[1]: paths[0]", "matches[1]: paths[1]", "routes[2]"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "secret-of-somebody") {
		t.Error("the error shows a header's value")
	}
}

func TestCompileBounds(t *testing.T) {
	many := func(n int, kind string) []sidecars.Route {
		var out []sidecars.Route
		for i := 0; n > 0; i++ {
			r := sidecars.Route{Host: strings.Repeat("a", 1+i%60) + strings.Repeat(".b", 1+i/60) + ".test"}
			var m sidecars.Match
			for ; n > 0 && len(m.Paths) < maxPaths; n-- {
				m.Paths = append(m.Paths, sidecars.PathMatch{Type: kind, Value: "/a"})
			}
			r.Matches = []sidecars.Match{m}
			out = append(out, r)
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		routes []sidecars.Route
		want   string // "" compiles
	}{
		{"many rules", many(maxRules, "prefix"), ""},
		{"too many rules", many(maxRules+1, "prefix"), "path rules"},
		{"many expressions", many(maxExprs, "regex"), ""},
		{"too many expressions", many(maxExprs+1, "regex"), "regular expressions"},
		{"too many matches", []sidecars.Route{{Host: "a.test", Matches: make([]sidecars.Match, maxMatches+1)}}, "65 matches"},
		{"too many routes", make([]sidecars.Route, maxRoutes+1), "4097 routes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Compile(tt.routes)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}

// Routes come back as they are applied, and as copies.
func TestRoutes(t *testing.T) {
	in := []sidecars.Route{{Host: "a.test", Ports: []int{1}, Auth: &sidecars.Auth{Slot: "S"}, Matches: []sidecars.Match{{
		Paths: []sidecars.PathMatch{{Type: "prefix", Value: "/a/"}, {Type: "prefix", Value: "/"}}, Methods: []string{"GET"},
		Headers: []sidecars.HeaderMatch{{Name: "x-a", Value: "1"}},
	}}}}
	want := []sidecars.Route{{Host: "a.test", Ports: []int{1}, Auth: &sidecars.Auth{Slot: "S"}, Matches: []sidecars.Match{{
		Paths: []sidecars.PathMatch{{Type: "prefix", Value: "/a"}, {Type: "prefix", Value: "/"}}, Methods: []string{"GET"},
		Headers: []sidecars.HeaderMatch{{Name: "X-A", Type: "exact", Value: "1"}},
	}}}}
	p := compile(t, in...)
	in[0].Ports[0], in[0].Auth.Slot, in[0].Matches[0].Methods[0], in[0].Matches[0].Paths[0].Value = 2, "T", "PUT", "/x"
	got := p.Routes()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Routes = %+v, want %+v", got, want)
	}
	got[0].Matches[0].Methods[0] = "PUT"
	if !reflect.DeepEqual(p.Routes(), want) {
		t.Error("a caller changed the policy")
	}
	if again := compile(t, want...); !reflect.DeepEqual(again.Routes(), want) {
		t.Error("the form that is applied compiles to another")
	}
}

// Subset knows every field of a route. Whoever adds one finds this test: a
// field that Subset does not compare lets a child be wider than its parent.
func TestContractIsKnown(t *testing.T) {
	for _, tt := range []struct {
		of   any
		want string
	}{
		{sidecars.Route{}, "Host Ports Auth Private Matches GitFetch DLP Budget Response"},
		{sidecars.Auth{}, "Scheme Header Slot Pin"},
		{sidecars.Pin{}, "Query Headers AllowQuery Cookies"},
		{sidecars.DLP{}, "Outbound Inbound OnMatch InboundOnMatch"},
		{sidecars.Budget{}, "Requests BytesOut BytesIn PerMinute"},
		{sidecars.ResponseRules{}, "MaxBytes Types"},
		{sidecars.Match{}, "Paths Methods Headers"},
		{sidecars.PathMatch{}, "Type Value"},
		{sidecars.HeaderMatch{}, "Name Type Value"},
	} {
		var names []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(tt.of)) {
			names = append(names, f.Name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%T has the fields %s, known are %s: teach Subset, Narrow and Words about the difference", tt.of, got, tt.want)
		}
	}
}

// FuzzCompile takes routes as they arrive in a sidecar, asks everything of what
// compiles, and holds it to its own promises.
func FuzzCompile(f *testing.F) {
	f.Add(`[{"host":"a.test","ports":[443],"matches":[{"paths":[{"type":"prefix","value":"/a"}],"methods":["GET"]}]}]`, "GET", "/a/b", "q=1", "X-A", "1")
	f.Add(`[{"host":"*.a.test","git_fetch":true,"matches":[{"headers":[{"name":"x-a","type":"regex","value":"1+"}]}]}]`, "POST", "/r/git-upload-pack", "", "X_A", "11")
	f.Add(`[{"host":"a.test","private":["10.0.0.0/8"],"auth":{"scheme":"token","slot":"S"},"matches":[{"paths":[{"type":"regex","value":"/(?i)x|y.*"}]}]}]`, "TRACE", "/X%2f..", "_method=PUT", "Connection", "x")
	f.Add(`[{"host":"*.a.test","dlp":{"outbound":[],"on_match":"block"},"budget":{"requests":3},"response":{"types":["text/*"]}},{"host":"b.a.test","budget":{"per_minute":1}}]`, "GET", "/", "", "X-A", "1")
	f.Fuzz(func(t *testing.T, routes, method, path, query, name, value string) {
		var list []sidecars.Route
		if json.Unmarshal([]byte(routes), &list) != nil {
			return
		}
		p, err := Compile(list)
		if err != nil {
			return
		}
		if err := Subset(p, p); err != nil {
			t.Fatalf("a policy is not within itself: %v", err)
		}
		kept, err := Narrow(p, NarrowRequest{})
		if err != nil || !reflect.DeepEqual(kept, p.Routes()) && len(kept) > 0 {
			t.Fatalf("narrowing to everything gave %v, %v", kept, err)
		}
		for _, r := range p.Routes() {
			host := strings.Replace(r.Host, "*", "x", 1)
			d := p.Decide(Request{Scheme: "https", Method: method, Host: host, Port: 443, RawPath: path, RawQuery: query, Header: map[string][]string{name: {value}}})
			if d.Route < 0 || d.Rule == "" {
				t.Fatalf("no route decides %q: %+v", host, d)
			}
			if d.Allow == (d.Reason != "") || !d.Allow && (d.Layer == "" || d.Message == "" || d.Ask == "") {
				t.Fatalf("decision is incomplete: %+v", d)
			}
			if d.Allow && (neverMethod(method) || len(p.routes[d.Route].matches) > 0 && d.Match < 0) {
				t.Fatalf("%s is allowed: %+v", method, d)
			}
			if Words(r) == "" {
				t.Fatal("no words")
			}
		}
	})
}
