package policy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

const secretValue = "value-that-no-refusal-shows"

func prefix(v string) sidecars.PathMatch {
	return sidecars.PathMatch{Type: sidecars.MatchPrefix, Value: v}
}
func exact(v string) sidecars.PathMatch {
	return sidecars.PathMatch{Type: sidecars.MatchExact, Value: v}
}
func regex(v string) sidecars.PathMatch {
	return sidecars.PathMatch{Type: sidecars.MatchRegex, Value: v}
}

func paths(p ...sidecars.PathMatch) []sidecars.PathMatch { return p }

func matchPolicy(t testing.TB) *Policy {
	t.Helper()
	return compile(t,
		sidecars.Route{Host: "api.test", Matches: []sidecars.Match{
			{Paths: paths(prefix("/read")), Methods: []string{"GET", "HEAD"}},
			{Paths: paths(exact("/graphql"), regex(`/v\d+/[a-z]+`)), Methods: []string{"POST"}},
			{Paths: paths(prefix("/team")), Headers: []sidecars.HeaderMatch{{Name: "X-Team", Value: secretValue}, {Name: "X-Env", Type: "regex", Value: "dev|test"}}},
		}},
		sidecars.Route{Host: "methods.test", Matches: []sidecars.Match{{Methods: []string{"GET"}}}},
		sidecars.Route{Host: "root.test", Matches: []sidecars.Match{{Paths: paths(prefix("/"))}}},
		sidecars.Route{Host: "all.test"},
		sidecars.Route{Host: "git.test", GitFetch: true},
		sidecars.Route{Host: "org.test", GitFetch: true, Matches: []sidecars.Match{{Paths: paths(prefix("/org")), Methods: []string{"GET"}}}},
		sidecars.Route{Host: "nogit.test", Matches: []sidecars.Match{{Paths: paths(prefix("/"))}}},
	)
}

func TestDecideMatches(t *testing.T) {
	uploadPack := http.Header{"Content-Type": {"application/x-git-upload-pack-request"}}
	team := func(more ...string) http.Header {
		h := http.Header{"X-Team": {secretValue}, "X-Env": {"dev"}}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = append(h[more[i]], more[i+1])
		}
		return h
	}
	tests := []struct {
		name, host, method, target string
		header                     http.Header
		reason                     string // "" allows
		match                      int
	}{
		{"prefix", "api.test", "GET", "/read", nil, "", 0},
		{"below a prefix", "api.test", "HEAD", "/read/x?y=z", nil, "", 0},
		{"prefix with slash", "api.test", "GET", "/read/", nil, "", 0},
		{"escapes of plain characters", "api.test", "GET", "/%72ead/x", nil, "", 0},
		{"not by bytes", "api.test", "GET", "/reader", nil, ReasonPathNotAllowed, 0},
		{"case matters", "api.test", "GET", "/Read", nil, ReasonPathNotAllowed, 0},
		{"method of another match", "api.test", "POST", "/read", nil, ReasonMethodNotAllowed, 0},
		{"lower-case method", "api.test", "get", "/read", nil, ReasonMethodNotAllowed, 0},
		{"exact", "api.test", "POST", "/graphql", nil, "", 1},
		{"exact is not below", "api.test", "POST", "/graphql/x", nil, ReasonPathNotAllowed, 1},
		{"exact has no slash", "api.test", "POST", "/graphql/", nil, ReasonPathNotAllowed, 1},
		{"expression", "api.test", "POST", "/v12/users", nil, "", 1},
		{"expression is anchored at its end", "api.test", "POST", "/v12/users/1", nil, ReasonPathNotAllowed, 1},
		{"expression is anchored at its start", "api.test", "POST", "/x/v12/users", nil, ReasonPathNotAllowed, 1},
		{"empty path is the root", "root.test", "GET", "", nil, "", 0},
		{"dot segments", "api.test", "GET", "/read/../admin", nil, ReasonPathAmbiguous, 0},
		{"encoded dot segments", "api.test", "GET", "/read/%2e%2e/admin", nil, ReasonPathAmbiguous, 0},
		{"encoded slash", "api.test", "GET", "/read/..%2fadmin", nil, ReasonPathAmbiguous, 0},
		{"parameters", "api.test", "GET", "/read/..;/admin", nil, ReasonPathAmbiguous, 0},
		{"root rule wants plain paths", "root.test", "GET", "/a%2Fb", nil, ReasonPathAmbiguous, 0},
		{"asterisk", "root.test", "OPTIONS", "*", nil, ReasonPathAmbiguous, 0},
		{"no path rule, any path", "methods.test", "GET", "/a%2Fb/../c//;d", nil, "", 0},
		{"no match, any request", "all.test", "PURGE", "/a%2Fb", nil, "", -1},
		{"path by header", "api.test", "GET", "/read", http.Header{"X-Original-Url": {"/admin"}}, ReasonPathAmbiguous, 0},
		{"path by header with underscores", "api.test", "GET", "/read", http.Header{"X_rewrite_url": {"/admin"}}, ReasonPathAmbiguous, 0},
		{"path by header, no path rule", "methods.test", "GET", "/", http.Header{"X-Original-Url": {"/admin"}}, "", 0},
		{"method by header", "methods.test", "GET", "/", http.Header{"X-Http-Method-Override": {"DELETE"}}, ReasonMethodNotAllowed, 0},
		{"method by other header", "methods.test", "GET", "/", http.Header{"X-Http-Method": {"DELETE"}}, ReasonMethodNotAllowed, 0},
		{"method by header, one of two", "methods.test", "GET", "/", http.Header{"X-Method-Override": {"GET", "DELETE"}}, ReasonMethodNotAllowed, 0},
		{"method by header, allowed", "methods.test", "GET", "/", http.Header{"X_method_override": {" get "}}, "", 0},
		{"method by query", "methods.test", "GET", "/?a=b&_method=delete", nil, ReasonMethodNotAllowed, 0},
		{"method by escaped query", "methods.test", "GET", "/?%5Fmetho%64=delete", nil, ReasonMethodNotAllowed, 0},
		{"method by PHP's query", "methods.test", "GET", "/?+.method=delete", nil, ReasonMethodNotAllowed, 0},
		{"method by query, allowed", "methods.test", "GET", "/?_method=GET&x", nil, "", 0},
		{"query that only resembles", "methods.test", "GET", "/?pay_method=card&method=x", nil, "", 0},
		{"headers", "api.test", "PATCH", "/team/x", team(), "", 2},
		{"header with other value", "api.test", "GET", "/team", http.Header{"X-Team": {"red"}, "X-Env": {"dev"}}, ReasonHeaderNotAllowed, 2},
		{"header missing", "api.test", "GET", "/team", http.Header{"X-Team": {secretValue}}, ReasonHeaderNotAllowed, 2},
		{"header expression is anchored", "api.test", "GET", "/team", http.Header{"X-Team": {secretValue}, "X-Env": {"developer"}}, ReasonHeaderNotAllowed, 2},
		{"header twice", "api.test", "GET", "/team", team("X-Team", "red"), ReasonHeaderNotAllowed, 2},
		{"header in two spellings", "api.test", "GET", "/team", team("X_team", "red"), ReasonHeaderNotAllowed, 2},
		{"header that does not travel on", "api.test", "GET", "/team", team("Connection", "close, x-team"), ReasonHeaderNotAllowed, 2},
		{"header beside", "api.test", "GET", "/team", team("Connection", "keep-alive", "X-Teams", "red"), "", 2},

		{"fetch without git", "all.test", "GET", "/r/info/refs?service=git-upload-pack", nil, ReasonGitFetch, -1},
		{"fetch without git, by the pack", "all.test", "POST", "/r/git-upload-pack", uploadPack, ReasonGitFetch, -1},
		{"fetch without git, matched", "nogit.test", "GET", "/r/info/refs?service=git-upload-pack", nil, ReasonGitFetch, -1},
		{"fetch in another spelling", "nogit.test", "POST", "/r/git%2Dupload-pack", nil, ReasonGitFetch, -1},
		{"fetch by type alone", "all.test", "POST", "/x", uploadPack, ReasonGitFetch, -1},
		{"fetch", "git.test", "GET", "/r/info/refs?service=git-upload-pack", nil, "", -1},
		{"fetch of the pack", "git.test", "POST", "/r/git-upload-pack", uploadPack, "", -1},
		{"push", "git.test", "GET", "/r/info/refs?service=git-receive-pack", nil, ReasonGitPush, -1},
		{"push of the pack", "git.test", "POST", "/r/git-receive-pack", nil, ReasonGitPush, -1},
		{"push behind a fetch", "git.test", "GET", "/r/info/refs?service=git-upload-pack&service=git-receive-pack", nil, ReasonGitPush, -1},
		{"push where a match allows", "org.test", "GET", "/org/r/info/refs?service=git-receive-pack", nil, ReasonGitPush, -1},
		{"fetch in its paths", "org.test", "GET", "/org/r/info/refs?service=git-upload-pack", nil, "", 0},
		{"fetch lifts methods", "org.test", "POST", "/org/r/git-upload-pack", uploadPack, "", 0},
		{"fetch of another path", "org.test", "POST", "/other/r/git-upload-pack", uploadPack, ReasonPathNotAllowed, 0},
		{"fetch without its type", "org.test", "POST", "/org/r/git-upload-pack", nil, ReasonMethodNotAllowed, 0},
		{"fetch with a query", "org.test", "POST", "/org/r/git-upload-pack?x", uploadPack, ReasonMethodNotAllowed, 0},
		{"fetch by another method", "org.test", "PUT", "/org/r/git-upload-pack", uploadPack, ReasonMethodNotAllowed, 0},
		{"fetch with method by header", "org.test", "POST", "/org/r/git-upload-pack", http.Header{"Content-Type": uploadPack["Content-Type"], "X-Http-Method": {"DELETE"}}, ReasonMethodNotAllowed, 0},
		{"fetch spelled oddly", "org.test", "POST", "/org/r/./git-upload-pack", uploadPack, ReasonPathAmbiguous, 0},
		{"post elsewhere", "org.test", "POST", "/org/r", nil, ReasonMethodNotAllowed, 0},
	}
	p := matchPolicy(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, query, _ := strings.Cut(tt.target, "?")
			d := p.Decide(Request{Scheme: "https", Method: tt.method, Host: tt.host, Port: 443, RawPath: path, RawQuery: query, Header: tt.header})
			if d.Reason != tt.reason || d.Allow != (tt.reason == "") || d.Match != tt.match || d.Rule != tt.host {
				t.Fatalf("decision = %+v, want reason %q by match %d", d, tt.reason, tt.match)
			}
			if !d.Allow && (d.Layer == "" || !strings.HasSuffix(d.Message, ".") || !strings.HasSuffix(d.Ask, ".")) {
				t.Errorf("refusal is incomplete: %+v", d)
			}
			if strings.Contains(d.Message+d.Ask, secretValue) || strings.Contains(d.Message+d.Ask, "dev|test") {
				t.Errorf("refusal shows a header's value: %s", d.Message)
			}
		})
	}
}

// Refusals name what came closest.
func TestClosest(t *testing.T) {
	p := matchPolicy(t)
	for _, tt := range []struct{ method, path, want string }{
		{"DELETE", "/read/x", "Host api.test is allowed, but not this method here; what comes closest is GET or HEAD on /read and below."},
		{"GET", "/graph", "Host api.test is allowed, but not this path on it; what comes closest is GET or HEAD on /read and below."},
		{"POST", "/graph", `Host api.test is allowed, but not this path on it; what comes closest is POST on exactly /graphql or paths like /v\d+/[a-z]+.`},
		{"PUT", "/tea", "Host api.test is allowed, but not this path on it; what comes closest is any method on /team and below with the right X-Team and X-Env."},
		{"GET", "/team", "Host api.test is allowed, but only with certain headers; what comes closest is any method on /team and below with the right X-Team and X-Env."},
		{"GET", "/read//x", "No rule can allow this path: it holds two slashes in a row; what comes closest is GET or HEAD on /read and below."},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			d := p.Decide(Request{Scheme: "https", Method: tt.method, Host: "api.test", Port: 443, RawPath: tt.path})
			if d.Message != tt.want {
				t.Errorf("message = %q\nwant      %q", d.Message, tt.want)
			}
		})
	}
}

func TestDecideAllocates(t *testing.T) {
	p := matchPolicy(t)
	r := Request{Scheme: "https", Method: "GET", Host: "all.test", Port: 443, RawPath: "/v1/Messages", RawQuery: "a=b", Header: http.Header{"Content-Type": {"text/plain"}}}
	if n := testing.AllocsPerRun(100, func() {
		if !p.Decide(r).Allow {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a request that a host's route allows", n)
	}
}

func TestRequestFor(t *testing.T) {
	for _, tt := range []struct {
		url  string
		want Request
		err  string
	}{
		{"https://api.test", Request{Scheme: "https", Host: "api.test", Port: 443}, ""},
		{"HTTPS://API.test.:8443/a%2Fb?c=d&e#f", Request{Scheme: "https", Host: "api.test", Port: 8443, RawPath: "/a%2Fb", RawQuery: "c=d&e"}, ""},
		{"http://api.test?x", Request{Scheme: "http", Host: "api.test", Port: 80, RawQuery: "x"}, ""},
		{"http://api.test//x/{y}", Request{Scheme: "http", Host: "api.test", Port: 80, RawPath: "//x/%7By%7D"}, ""},
		// What the proxy refuses unread is no question either.
		{`https://api.test\@evil.test/`, Request{}, "percent-encoded"},
		{"https://api.test/a b", Request{}, "percent-encoded"},
		{"https://api.test/?é", Request{}, "percent-encoded"},
		{"https://api.test/%zz", Request{}, "begins no escape"},
		{"https://api.test/a%2", Request{}, "begins no escape"},
		{"https://api.test/?%zz", Request{Scheme: "https", Host: "api.test", Port: 443, RawPath: "/", RawQuery: "%zz"}, ""},
		{"ftp://api.test/", Request{}, "http"},
		{"/path", Request{}, "absolute"},
		{"https://me@api.test/", Request{}, "user information"},
		{"https://[::1]/", Request{}, "bracketed"},
		{"https://api.test:0/", Request{}, "port"},
		{"https:///x", Request{}, "empty"},
	} {
		t.Run(tt.url, func(t *testing.T) {
			got, err := RequestFor("GET", tt.url)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error = %v, want %q", err, tt.err)
			}
			if tt.want.Host != "" {
				tt.want.Method = "GET"
			}
			if got.Scheme != tt.want.Scheme || got.Method != tt.want.Method || got.Host != tt.want.Host || got.Port != tt.want.Port || got.RawPath != tt.want.RawPath || got.RawQuery != tt.want.RawQuery {
				t.Errorf("RequestFor = %+v, want %+v", got, tt.want)
			}
		})
	}
	if r, err := RequestFor("POST", "https://org.test/org/r.git/git-upload-pack"); err != nil || !matchPolicy(t).Decide(r).Allow {
		t.Errorf("a fetch is read as %+v, %v", r, err)
	}
	if _, err := RequestFor("get", "https://api.test/"); err == nil || !strings.Contains(err.Error(), "upper case") {
		t.Errorf("error = %v, want one about the method", err)
	}
}

func TestWords(t *testing.T) {
	for _, tt := range []struct {
		route sidecars.Route
		want  string
	}{
		{sidecars.Route{Host: "a.test"}, "a.test"},
		{sidecars.Route{Host: "a.test", Ports: []int{80, 443}, Auth: &sidecars.Auth{Scheme: "Bearer", Slot: "SLOT"}, Private: []string{"10.0.0.1"}},
			"a.test (ports 80, 443; a credential is added; private addresses allowed)"},
		{sidecars.Route{Host: "a.test", GitFetch: true, Matches: []sidecars.Match{
			{Methods: []string{"GET"}}, {Paths: paths(prefix("/a/"), exact("/b"), regex("/c.*"), prefix("/")), Headers: []sidecars.HeaderMatch{{Name: "X-A", Value: secretValue}}},
		}}, "a.test (only GET on any path, or any method on /a and below or exactly /b or paths like /c.* or every unambiguous path with the right X-A; git fetch)"},
		{sidecars.Route{Host: "a.test", Matches: []sidecars.Match{{Methods: []string{"A", "B", "C", "D", "E", "F", "G", "H"}}}},
			"a.test (only A or B or C or D or E or F or 2 more on any path)"},
		{sidecars.Route{Host: "a.test", Matches: []sidecars.Match{{Paths: paths(exact("/" + strings.Repeat("a", 100)))}}},
			"a.test (only any method on exactly /" + strings.Repeat("a", 76) + "...)"},
	} {
		if got := Words(tt.route); got != tt.want {
			t.Errorf("Words = %q\nwant    %q", got, tt.want)
		}
	}
}

func TestValidHeader(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        bool
	}{
		{"X-A", "", true}, {"x_a", "a\tb c", true}, {"X-A", "é", true},
		{"", "a", false}, {"X A", "a", false}, {"X-A:", "a", false}, {"X-A", "a\r\nB: c", false}, {"X-A", "a\x00", false}, {"X-A", "\x7f", false},
	} {
		if got := ValidHeader(tt.name, tt.value); got != tt.want {
			t.Errorf("ValidHeader(%q, %q) = %v", tt.name, tt.value, got)
		}
	}
}
