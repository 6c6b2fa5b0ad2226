package policy

import (
	"errors"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func TestSubset(t *testing.T) {
	auth := func(slot string) *sidecars.Auth { return &sidecars.Auth{Scheme: "Bearer", Slot: slot} }
	on := func(p ...sidecars.PathMatch) []sidecars.Match { return []sidecars.Match{{Paths: p}} }
	by := func(m ...string) []sidecars.Match { return []sidecars.Match{{Methods: m}} }
	with := func(kind, value string) []sidecars.Match {
		return []sidecars.Match{{Headers: []sidecars.HeaderMatch{{Name: "X-A", Type: kind, Value: value}}}}
	}
	tests := []struct {
		name          string
		parent, child []sidecars.Route
		what, detail  string // "" is a subset
	}{
		{"nothing of nothing", nil, nil, "", ""},
		{"something of nothing", nil, []sidecars.Route{{Host: "a.test"}}, "host", "no route"},
		{"another host", []sidecars.Route{{Host: "a.test"}}, []sidecars.Route{{Host: "b.test"}}, "host", "no route"},
		{"name below a wildcard", []sidecars.Route{{Host: "*.a.test"}}, []sidecars.Route{{Host: "x.y.a.test"}}, "", ""},
		{"wildcard's apex", []sidecars.Route{{Host: "*.a.test"}}, []sidecars.Route{{Host: "a.test"}}, "host", "no route"},
		{"wildcard within a wildcard", []sidecars.Route{{Host: "*.a.test"}}, []sidecars.Route{{Host: "*.b.a.test"}}, "", ""},
		{"wildcard over a wildcard", []sidecars.Route{{Host: "*.b.a.test"}}, []sidecars.Route{{Host: "*.a.test"}}, "host", "no route"},
		{"wildcard over names", []sidecars.Route{{Host: "x.a.test"}}, []sidecars.Route{{Host: "*.a.test"}}, "host", "no route"},
		{"wildcard over a narrower name", []sidecars.Route{{Host: "*.a.test"}, {Host: "x.a.test", Matches: by("GET")}},
			[]sidecars.Route{{Host: "*.a.test"}}, "matches", "its route for x.a.test"},
		{"wildcard beside the narrower name", []sidecars.Route{{Host: "*.a.test"}, {Host: "x.a.test", Matches: by("GET")}},
			[]sidecars.Route{{Host: "*.a.test"}, {Host: "x.a.test", Matches: by("GET")}}, "", ""},
		{"wildcard over a narrower wildcard", []sidecars.Route{{Host: "*.a.test"}, {Host: "*.b.a.test", Matches: by("GET")}},
			[]sidecars.Route{{Host: "*.a.test"}}, "matches", "its route for *.b.a.test"},
		{"wildcard with one between", []sidecars.Route{{Host: "*.a.test"}, {Host: "x.c.b.a.test", Matches: by("GET")}},
			[]sidecars.Route{{Host: "*.a.test"}, {Host: "*.b.a.test", Matches: by("GET")}}, "", ""},
		{"wider name below a wildcard", []sidecars.Route{{Host: "*.a.test", Matches: by("GET")}, {Host: "x.a.test"}},
			[]sidecars.Route{{Host: "x.a.test"}}, "", ""},

		{"default ports by name", []sidecars.Route{{Host: "a.test", Auth: auth("A")}}, []sidecars.Route{{Host: "a.test", Auth: auth("A"), Ports: []int{443}}}, "", ""},
		{"http on the https port", []sidecars.Route{{Host: "a.test"}}, []sidecars.Route{{Host: "a.test", Ports: []int{443}}}, "ports", "http on port 443"},
		{"another port", []sidecars.Route{{Host: "a.test", Ports: []int{1, 2}}}, []sidecars.Route{{Host: "a.test", Ports: []int{2, 3}}}, "ports", "https on port 3"},
		{"default port of listed ones", []sidecars.Route{{Host: "a.test", Ports: []int{443, 80}}}, []sidecars.Route{{Host: "a.test"}}, "", ""},

		{"same auth", []sidecars.Route{{Host: "*.a.test", Auth: auth("A")}}, []sidecars.Route{{Host: "x.a.test", Auth: auth("A")}}, "", ""},
		{"other auth", []sidecars.Route{{Host: "a.test", Auth: auth("A")}}, []sidecars.Route{{Host: "a.test", Auth: auth("B")}}, "auth", "another credential"},
		{"auth dropped", []sidecars.Route{{Host: "a.test", Auth: auth("A")}}, []sidecars.Route{{Host: "a.test"}}, "auth", "agent's own"},
		{"auth added", []sidecars.Route{{Host: "a.test"}}, []sidecars.Route{{Host: "a.test", Auth: auth("A")}}, "auth", "the parent does not"},

		{"private within", []sidecars.Route{{Host: "a.test", Private: []string{"10.0.0.0/8"}}}, []sidecars.Route{{Host: "a.test", Private: []string{"10.1.0.0/16"}}}, "", ""},
		{"private dropped", []sidecars.Route{{Host: "a.test", Private: []string{"10.0.0.0/8"}}}, []sidecars.Route{{Host: "a.test"}}, "", ""},
		{"private beside", []sidecars.Route{{Host: "a.test", Private: []string{"10.0.0.0/8"}}}, []sidecars.Route{{Host: "a.test", Private: []string{"172.16.0.0/12"}}}, "private", "172.16.0.0/12"},
		{"private wider", []sidecars.Route{{Host: "a.test", Private: []string{"10.0.0.0/16"}}}, []sidecars.Route{{Host: "a.test", Private: []string{"10.0.0.0/8"}}}, "private", "10.0.0.0/8"},
		{"metadata address out of a range", []sidecars.Route{{Host: "a.test", Private: []string{"169.254.0.0/16"}}},
			[]sidecars.Route{{Host: "a.test", Private: []string{"169.254.169.254"}}}, "private", "169.254.169.254"},
		{"same address", []sidecars.Route{{Host: "a.test", Private: []string{"10.0.0.1"}}}, []sidecars.Route{{Host: "a.test", Private: []string{"10.0.0.1/32"}}}, "", ""},

		{"git dropped", []sidecars.Route{{Host: "a.test", GitFetch: true}}, []sidecars.Route{{Host: "a.test"}}, "", ""},
		{"git added", []sidecars.Route{{Host: "a.test"}}, []sidecars.Route{{Host: "a.test", GitFetch: true}}, "git", "fetching"},

		{"matches added", []sidecars.Route{{Host: "a.test"}}, []sidecars.Route{{Host: "a.test", Matches: by("GET")}}, "", ""},
		{"matches dropped", []sidecars.Route{{Host: "a.test", Matches: by("GET")}}, []sidecars.Route{{Host: "a.test"}}, "matches", "only GET on any path"},
		{"all but all", []sidecars.Route{{Host: "a.test", Matches: on(prefix("/"))}}, []sidecars.Route{{Host: "a.test"}}, "matches", "every request"},
		{"method within", []sidecars.Route{{Host: "a.test", Matches: by("GET", "HEAD")}}, []sidecars.Route{{Host: "a.test", Matches: by("HEAD")}}, "", ""},
		{"method beyond", []sidecars.Route{{Host: "a.test", Matches: by("GET")}}, []sidecars.Route{{Host: "a.test", Matches: by("GET", "PUT")}}, "matches", "GET or PUT"},
		{"two halves of one", []sidecars.Route{{Host: "a.test", Matches: append(by("GET"), by("PUT")...)}},
			[]sidecars.Route{{Host: "a.test", Matches: by("GET", "PUT")}}, "matches", "no match"},
		{"two of one", []sidecars.Route{{Host: "a.test", Matches: by("GET", "PUT")}}, []sidecars.Route{{Host: "a.test", Matches: append(by("GET"), by("PUT")...)}}, "", ""},

		{"header value", []sidecars.Route{{Host: "a.test", Matches: with("exact", "1")}}, []sidecars.Route{{Host: "a.test", Matches: with("", "1")}}, "", ""},
		{"other header value", []sidecars.Route{{Host: "a.test", Matches: with("exact", "1")}}, []sidecars.Route{{Host: "a.test", Matches: with("exact", "2")}}, "matches", "X-A"},
		{"value of an expression", []sidecars.Route{{Host: "a.test", Matches: with("regex", "1|2")}}, []sidecars.Route{{Host: "a.test", Matches: with("exact", "2")}}, "", ""},
		{"expression over a value", []sidecars.Route{{Host: "a.test", Matches: with("exact", "1")}}, []sidecars.Route{{Host: "a.test", Matches: with("regex", "1")}}, "matches", "X-A"},
		{"auth in another header", []sidecars.Route{{Host: "a.test", Auth: &sidecars.Auth{Scheme: "header", Header: "X-Key", Slot: "A"}}},
			[]sidecars.Route{{Host: "a.test", Auth: &sidecars.Auth{Scheme: "header", Header: "X-Token", Slot: "A"}}}, "auth", "another credential"},
		{"same header", []sidecars.Route{{Host: "*.a.test", Auth: &sidecars.Auth{Scheme: "header", Header: "X-Key", Slot: "A"}}},
			[]sidecars.Route{{Host: "x.a.test", Auth: &sidecars.Auth{Scheme: "header", Header: "X-Key", Slot: "A"}}}, "", ""},
		{"header dropped", []sidecars.Route{{Host: "a.test", Matches: with("regex", ".*")}}, []sidecars.Route{{Host: "a.test", Matches: by("GET")}}, "matches", "GET"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Subset(compile(t, tt.child...), compile(t, tt.parent...))
			if tt.what == "" {
				if err != nil {
					t.Errorf("error = %v, want a proof", err)
				}
				return
			}
			var beyond *BeyondError
			if !errors.As(err, &beyond) || beyond.What != tt.what || !strings.Contains(beyond.Detail, tt.detail) || beyond.Host != tt.child[0].Host {
				t.Errorf("error = %#v, want one about %s with %q", err, tt.what, tt.detail)
			}
		})
	}
}

func TestSubsetOfRules(t *testing.T) {
	scan := func(d sidecars.DLP) sidecars.Route { return sidecars.Route{Host: "a.test", DLP: &d} }
	spend := func(b sidecars.Budget) sidecars.Route { return sidecars.Route{Host: "a.test", Budget: &b} }
	answer := func(a sidecars.ResponseRules) sidecars.Route { return sidecars.Route{Host: "a.test", Response: &a} }
	pinned := func(p *sidecars.Pin) sidecars.Route {
		return sidecars.Route{Host: "a.test", Auth: &sidecars.Auth{Scheme: "Bearer", Slot: "S", Pin: p}}
	}
	plain, all := sidecars.Route{Host: "a.test"}, []string{sidecars.DetectTokenPatterns, sidecars.DetectKnownSecrets}
	tests := []struct {
		name          string
		parent, child sidecars.Route
		what, detail  string // "" is a subset
	}{
		{"default scan by name", plain, scan(sidecars.DLP{Outbound: all, Inbound: []string{sidecars.DetectInjection}}), "", ""},
		{"default scan of named", scan(sidecars.DLP{Outbound: all}), plain, "", ""},
		{"no scan of the default", plain, scan(sidecars.DLP{Outbound: []string{}}), "dlp", "requests would not be scanned for token_patterns"},
		{"answers unscanned", plain, scan(sidecars.DLP{Inbound: []string{}}), "dlp", "answers would not be scanned for naive_injection_detection"},
		{"default of none", scan(sidecars.DLP{Outbound: []string{}, Inbound: []string{}}), plain, "", ""},
		{"entropy dropped", scan(sidecars.DLP{Outbound: append(all, sidecars.DetectEntropy)}), plain, "dlp", "entropy"},
		{"blocks", plain, scan(sidecars.DLP{OnMatch: sidecars.OnMatchBlock}), "", ""},
		{"asks instead of blocking", scan(sidecars.DLP{OnMatch: sidecars.OnMatchBlock}), scan(sidecars.DLP{OnMatch: sidecars.OnMatchSupervise}), "dlp", `"supervise"`},
		{"default instead of blocking", scan(sidecars.DLP{OnMatch: sidecars.OnMatchBlock}), plain, "dlp", `answered with ""`},
		{"redacts instead of asking", scan(sidecars.DLP{OnMatch: sidecars.OnMatchSupervise}), scan(sidecars.DLP{OnMatch: sidecars.OnMatchRedact}), "dlp", `"redact"`},

		{"blocks answers", plain, scan(sidecars.DLP{InboundOnMatch: sidecars.InboundBlock}), "", ""},
		{"blocks answers too", scan(sidecars.DLP{InboundOnMatch: sidecars.InboundBlock}), scan(sidecars.DLP{InboundOnMatch: sidecars.InboundBlock}), "", ""},
		{"reports answers instead of blocking", scan(sidecars.DLP{InboundOnMatch: sidecars.InboundBlock}), scan(sidecars.DLP{InboundOnMatch: sidecars.InboundReport}), "dlp", "which the parent blocks"},
		{"default for answers instead of blocking", scan(sidecars.DLP{InboundOnMatch: sidecars.InboundBlock}), plain, "dlp", "which the parent blocks"},

		{"pin added", pinned(nil), pinned(&sidecars.Pin{Query: []string{"q"}, Headers: []string{"X-A"}, Cookies: "refuse"}), "", ""},
		{"pin dropped", pinned(&sidecars.Pin{Query: []string{"q"}}), pinned(nil), "auth", "credentials of the agent's own"},
		{"pinned header dropped", pinned(&sidecars.Pin{Headers: []string{"X-A"}}), pinned(&sidecars.Pin{Headers: []string{"X-B"}}), "auth", "credentials of the agent's own"},
		{"another spelling", pinned(&sidecars.Pin{Query: []string{"my_q"}}), pinned(&sidecars.Pin{Query: []string{"myQ"}}), "", ""},
		{"parameter allowed", pinned(nil), pinned(&sidecars.Pin{AllowQuery: []string{"key"}}), "auth", "takes for credentials"},
		{"allowed there too", pinned(&sidecars.Pin{AllowQuery: []string{"key", "sig"}}), pinned(&sidecars.Pin{AllowQuery: []string{"key"}}), "", ""},
		{"cookies travel", pinned(&sidecars.Pin{Cookies: "refuse"}), pinned(&sidecars.Pin{Cookies: "allow"}), "auth", "cookies"},
		{"cookies left out", pinned(&sidecars.Pin{Cookies: "allow"}), pinned(nil), "", ""},

		{"budget within", spend(sidecars.Budget{Requests: 10}), spend(sidecars.Budget{Requests: 10, PerMinute: 1}), "", ""},
		{"budget added", plain, spend(sidecars.Budget{Requests: 10}), "", ""},
		{"budget dropped", spend(sidecars.Budget{Requests: 10}), plain, "budget", "at most 10 requests"},
		{"budget exceeded", spend(sidecars.Budget{BytesOut: 1 << 20}), spend(sidecars.Budget{BytesOut: 1<<20 + 1}), "budget", "1 MiB out"},
		{"another column", spend(sidecars.Budget{BytesIn: 1500}), spend(sidecars.Budget{Requests: 1}), "budget", "1500 bytes in"},
		{"faster", spend(sidecars.Budget{PerMinute: 6}), spend(sidecars.Budget{PerMinute: 7}), "budget", "6 a minute"},

		{"answers within", answer(sidecars.ResponseRules{MaxBytes: 10, Types: []string{"text/*"}}), answer(sidecars.ResponseRules{MaxBytes: 9, Types: []string{"text/html"}}), "", ""},
		{"answers unbounded", answer(sidecars.ResponseRules{MaxBytes: 1 << 30}), plain, "response", "larger than 1 GiB"},
		{"answers larger", answer(sidecars.ResponseRules{MaxBytes: 10}), answer(sidecars.ResponseRules{MaxBytes: 11}), "response", "larger than 10 bytes"},
		{"any type", answer(sidecars.ResponseRules{Types: []string{"text/html"}}), answer(sidecars.ResponseRules{MaxBytes: 1}), "response", "only text/html"},
		{"wider type", answer(sidecars.ResponseRules{Types: []string{"text/html"}}), answer(sidecars.ResponseRules{Types: []string{"text/*"}}), "response", "text/*"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Subset(compile(t, tt.child), compile(t, tt.parent))
			var beyond *BeyondError
			switch {
			case tt.what == "" && err != nil:
				t.Errorf("error = %v, want a proof", err)
			case tt.what != "" && (!errors.As(err, &beyond) || beyond.What != tt.what || !strings.Contains(beyond.Detail, tt.detail)):
				t.Errorf("error = %v, want one about %s with %q", err, tt.what, tt.detail)
			}
		})
	}
}

// TestBudgetsAddUp: a budget is a route's, so that several routes of a child under
// one of the parent's share what is there.
func TestBudgetsAddUp(t *testing.T) {
	spend := func(host string, n int64) sidecars.Route {
		return sidecars.Route{Host: host, Budget: &sidecars.Budget{Requests: n}}
	}
	parent := compile(t, spend("*.a.test", 10), sidecars.Route{Host: "free.a.test"})
	tests := []struct {
		name  string
		child []sidecars.Route
		want  bool
	}{
		{"one", []sidecars.Route{spend("x.a.test", 10)}, true},
		{"two halves", []sidecars.Route{spend("x.a.test", 5), spend("y.a.test", 5)}, true},
		{"two wholes", []sidecars.Route{spend("x.a.test", 10), spend("y.a.test", 10)}, false},
		{"wildcard and name", []sidecars.Route{spend("*.a.test", 10), spend("x.a.test", 1)}, false},
		{"name of its own", []sidecars.Route{spend("x.a.test", 10), {Host: "free.a.test"}}, true},
		{"one of them unbounded", []sidecars.Route{spend("x.a.test", 1), {Host: "y.a.test"}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Subset(compile(t, tt.child...), parent); (err == nil) != tt.want {
				t.Errorf("error = %v", err)
			}
		})
	}
	// What the parent does not decide is no Subset, and spends nothing of it.
	elsewhere := compile(t, spend("elsewhere.test", 3), spend("*.elsewhere.test", 3))
	for name, p := range map[string]*Policy{"parent": parent, "parent without routes": compile(t)} {
		if got := Spend(elsewhere, p); len(got) > 0 {
			t.Errorf("of a %s is spent %v", name, got)
		}
	}
	if got := Spend(compile(t, spend("x.a.test", 3)), parent)["*.a.test"].Requests; got != 3 {
		t.Errorf("control: spent are %d requests, want 3", got)
	}
	careless := newProver()
	careless.spendFreely = true
	if err := careless.subset(compile(t, tests[2].child...), parent); err != nil {
		t.Errorf("without the rule: %v", err)
	}
	var no *NarrowError
	if _, err := Narrow(parent, NarrowRequest{Hosts: []string{"x.a.test", "y.a.test"}}); !errors.As(err, &no) || !strings.Contains(no.Problem, "cannot be shared") {
		t.Errorf("splitting a budget: %v", err)
	}
	if left, err := Narrow(parent, NarrowRequest{Hosts: []string{"x.a.test"}}); err != nil || len(left) != 1 || left[0].Budget.Requests != 10 {
		t.Errorf("one of a wildcard: %+v, %v", left, err)
	}
}

func TestPathWithin(t *testing.T) {
	tests := []struct {
		child, parent sidecars.PathMatch
		want          bool
	}{
		{exact("/a"), exact("/a"), true},
		{exact("/a"), exact("/a/"), false},
		{exact("/a/b"), prefix("/a"), true},
		{exact("/ab"), prefix("/a"), false},
		{exact("/a/b"), regex("/a/[a-c]"), true},
		{exact("/a/d"), regex("/a/[a-c]"), false},
		{prefix("/a/b"), prefix("/a"), true},
		{prefix("/a"), prefix("/a/"), true},
		{prefix("/ab"), prefix("/a"), false},
		{prefix("/a"), prefix("/a/b"), false},
		{prefix("/a"), prefix("/"), true},
		{prefix("/a"), exact("/a"), false},
		{prefix("/a"), regex("/a.*"), false},
		{regex("/a.*"), regex("/a.*"), true},
		{regex("/a"), regex("/a.*"), false},
		{regex("/a"), exact("/a"), false},
		{regex("anything|.*"), prefix("/"), true},
		{regex("/a/.*"), prefix("/a"), true},
		{regex("/a(/.*)?"), prefix("/a"), true},
		{regex("/a"), prefix("/a"), true},
		{regex("/a$"), prefix("/a"), true},
		{regex("^/a/b*"), prefix("/a"), true},
		{regex("(/a/b|/a/c)/.+"), prefix("/a"), true},
		{regex("/a/b|/a"), prefix("/a"), true},
		{regex("(?:/a)(?:/[^/]+){0,3}"), prefix("/a"), true},
		{regex("/a.*"), prefix("/a"), false},
		{regex("/a/?.*"), prefix("/a"), false},
		{regex("/a/b|/c"), prefix("/a"), false},
		{regex("/(a|ab)/c"), prefix("/a"), false},
		{regex("(?i)/a/b"), prefix("/a"), false},
		{regex("/[a]/b"), prefix("/a"), true},
		{regex("/a?/b"), prefix("/a"), false},
		{regex("/a*"), prefix("/a"), false},
		{regex("/a+/b"), prefix("/a"), false},
		{regex(".*/a/b"), prefix("/a"), false},
		{regex("/a/b"), prefix("/a/b/c"), false},
		{regex("/a/?"), prefix("/a"), true},
		{regex("/a(/|%2F)b"), prefix("/a"), false},
		{regex(`/a\b.*`), prefix("/a"), false}, // "/a-b"
		{regex(`[^x]a/b`), prefix("/a"), true}, // a path begins with a slash
		{regex(`/v1\.0/.*`), prefix("/v1.0"), true},
		{regex(`/v1.0/.*`), prefix("/v1.0"), false},
		{regex(`/caf%C3%A9/.*`), prefix("/caf%C3%A9"), true},
		{regex(`/café/.*`), prefix("/caf"), true}, // no normal path matches
	}
	for _, tt := range tests {
		t.Run(tt.child.Value+" in "+tt.parent.Type+" "+tt.parent.Value, func(t *testing.T) {
			p := compile(t, sidecars.Route{Host: "a.test", Matches: []sidecars.Match{{Paths: paths(tt.child, tt.parent)}}})
			rules := p.routes[0].matches[0].paths
			if got := pathWithin(&rules[0], &rules[1]); got != tt.want {
				t.Errorf("pathWithin = %v, want %v", got, tt.want)
			}
		})
	}
}

// FuzzExprWithin looks for a path that an expression matches and that is not
// where the proof says all of them are.
func FuzzExprWithin(f *testing.F) {
	f.Add("/a(/.*)?", "/a", "/a/b")
	f.Add("/a|/b.*", "/a", "/b/c")
	f.Add(`(?i:/A)/\w+`, "/a", "/A/x")
	f.Add(`/a\b/?`, "/a", "/a/")
	f.Fuzz(func(t *testing.T, src, prefix, path string) {
		p, err := Compile([]sidecars.Route{{Host: "a.test", Matches: []sidecars.Match{{Paths: paths(regex(src), sidecars.PathMatch{Type: "prefix", Value: prefix})}}}})
		if err != nil {
			return
		}
		rules := p.routes[0].matches[0].paths
		if !pathWithin(&rules[0], &rules[1]) {
			return
		}
		tries := []string{path, prefix, prefix + path, rules[1].value + "x", strings.ToUpper(prefix), "/" + path}
		for _, literal := range regexp.MustCompile(`[/\w.-]+`).FindAllString(src, 8) {
			tries = append(tries, literal, "/"+literal, rules[1].value+literal)
		}
		for _, s := range tries {
			normal, err := NormalizePath(s)
			if err == nil && rules[0].holds(normal) && !rules[1].holds(normal) {
				t.Fatalf("%q is shown to be within %q, and %q is not", src, prefix, normal)
			}
		}
	})
}

// TestSpend: what is counted is what Subset bounds, so a subset never counts more
// than its parent has, and what does is none.
func TestSpend(t *testing.T) {
	parent := compile(t, sidecars.Route{Host: "*.a.test", Budget: &sidecars.Budget{Requests: 10, BytesIn: 100}},
		sidecars.Route{Host: "x.a.test", Budget: &sidecars.Budget{PerMinute: 5}}, sidecars.Route{Host: "free.test"})
	child := compile(t,
		sidecars.Route{Host: "y.a.test", Budget: &sidecars.Budget{Requests: 3, BytesIn: 1}},
		sidecars.Route{Host: "z.a.test", Budget: &sidecars.Budget{Requests: 4, BytesIn: 2, PerMinute: 1}},
		sidecars.Route{Host: "x.a.test", Budget: &sidecars.Budget{PerMinute: 2}},
		sidecars.Route{Host: "free.test", Budget: &sidecars.Budget{Requests: 9}})
	if err := Subset(child, parent); err != nil {
		t.Fatal(err)
	}
	want := map[string]sidecars.Budget{"*.a.test": {Requests: 7, BytesIn: 3, PerMinute: 1}, "x.a.test": {PerMinute: 2}}
	if got := Spend(child, parent); !maps.Equal(got, want) {
		t.Errorf("it spends %+v, want %+v", got, want)
	}
	within := func(child, parent *Policy) bool {
		spent := Spend(child, parent)
		for _, r := range parent.Routes() {
			if r.Budget == nil {
				continue
			}
			s := spent[r.Host]
			for i, n := range columns(r.Budget) {
				if n > 0 && columns(&s)[i] > n {
					return false
				}
			}
		}
		return true
	}
	g, proven, beyond := newGenerator(11), 0, 0
	for range 5_000 {
		parents := g.routes()
		children := g.mutate(parents)
		parent := compile(t, parents...)
		if Subset(compile(t, children...), parent) != nil {
			continue
		}
		proven++
		if !within(compile(t, children...), parent) {
			t.Fatalf("a subset spends too much:\n%s", describe(parents, children, probe{}))
		}
		for i := range children {
			if b := children[i].Budget; b != nil {
				children[i].Budget = &sidecars.Budget{Requests: 100 * b.Requests, BytesOut: 100 * b.BytesOut, PerMinute: 100 * b.PerMinute}
			}
		}
		if child := compile(t, children...); !within(child, parent) {
			beyond++
			if Subset(child, parent) == nil {
				t.Fatalf("what spends too much is a subset:\n%s", describe(parents, children, probe{}))
			}
		}
	}
	if proven < 1000 || beyond < 100 {
		t.Errorf("only %d were proven, and %d of them made to spend too much", proven, beyond)
	}
}
