package egress

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

const matchedValue = "value-of-a-header-rule"

// matchBed serves allowed.test under path, method and header rules.
func matchBed(t *testing.T) *bed {
	t.Helper()
	return newBed(t, func(_ *bed, c *bedConfig) {
		i := slices.IndexFunc(c.routes, func(r sidecars.Route) bool { return r.Host == "allowed.test" })
		c.routes[i].GitFetch = true
		c.routes[i].Matches = []sidecars.Match{
			{Paths: []sidecars.PathMatch{{Type: sidecars.MatchPrefix, Value: "/ok"}}, Methods: []string{"GET", "POST"}},
			{Paths: []sidecars.PathMatch{{Type: sidecars.MatchExact, Value: "/team"}}, Headers: []sidecars.HeaderMatch{{Name: "X-Team", Value: matchedValue}}},
			{Paths: []sidecars.PathMatch{{Type: sidecars.MatchPrefix, Value: "/org"}}, Methods: []string{"GET"}},
		}
	})
}

// What is refused never reaches the origin, and says why in every place.
func TestMatchesThroughTheProxy(t *testing.T) {
	b := matchBed(t)
	tests := []struct {
		method, path, header, value string
		reason                      string // "" passes
	}{
		{"GET", "/ok", "", "", ""},
		{"GET", "/ok/a%2Db/caf%c3%a9?x=%2F..%2F&_method=get", "", "", ""},
		{"GET", "/other", "", "", policy.ReasonPathNotAllowed},
		{"GET", "/okay", "", "", policy.ReasonPathNotAllowed},
		{"DELETE", "/ok/x", "", "", policy.ReasonMethodNotAllowed},
		{"POST", "/ok/x?_method=DELETE", "", "", policy.ReasonMethodNotAllowed},
		{"POST", "/ok/x", "X-HTTP-Method-Override", "PUT", policy.ReasonMethodNotAllowed},
		{"GET", "/ok/..%2fother", "", "", policy.ReasonPathAmbiguous},
		{"GET", "/ok/%2e%2e/other", "", "", policy.ReasonPathAmbiguous},
		{"GET", "/ok//other", "", "", policy.ReasonPathAmbiguous},
		{"GET", "/ok/;x", "", "", policy.ReasonPathAmbiguous},
		{"GET", "/ok/%252e%252e/", "", "", policy.ReasonPathAmbiguous},
		{"GET", "/ok", "X-Rewrite-Url", "/other", policy.ReasonPathAmbiguous},
		{"GET", "/team", "X-Team", matchedValue, ""},
		{"GET", "/team", "X-Team", "other", policy.ReasonHeaderNotAllowed},
		{"GET", "/org/r.git/info/refs?service=git-upload-pack", "", "", ""},
		{"POST", "/org/r.git/git-upload-pack", "Content-Type", "application/x-git-upload-pack-request", ""},
		{"POST", "/org/r.git/git-receive-pack", "", "", policy.ReasonGitPush},
		{"GET", "/org/r.git/info/refs?service=git-receive-pack", "", "", policy.ReasonGitPush},
	}
	for _, h2 := range []bool{false, true} {
		c := b.client(h2)
		for _, tt := range tests {
			t.Run(tt.method+" "+tt.path+" "+tt.reason, func(t *testing.T) {
				req, err := http.NewRequest(tt.method, b.secureURL("allowed.test", tt.path), nil)
				check(t, err)
				if tt.header != "" {
					req.Header.Set(tt.header, tt.value)
				}
				resp, s := fetch(t, c, req)
				if tt.reason == "" {
					if resp.StatusCode != 200 || s.URI != tt.path || s.Method != tt.method {
						t.Errorf("status %s, the origin saw %s %q", resp.Status, s.Method, s.URI)
					}
					return
				}
				no := refused(t, resp, 403, tt.reason)
				if no.Rule != "allowed.test" || strings.Contains(no.Message+no.Ask, matchedValue) {
					t.Errorf("refusal = %+v", no)
				}
				all := b.decisions()
				d := all[len(all)-1] // on record before the answer
				if d.Reason != tt.reason || d.Verdict != sidecars.Deny || d.Rule != "allowed.test" || d.Layer != no.Layer || d.Message != no.Message {
					t.Errorf("decision = %+v", d)
				}
			})
		}
	}
	if strings.Contains(b.log.String(), matchedValue) {
		t.Error("the log holds a header's value")
	}
}

// The path that is judged is the path that goes out, byte by byte, whatever
// the client's spelling.
func TestJudgedIsForwarded(t *testing.T) {
	b := matchBed(t)
	for sent, want := range map[string]string{
		"/ok/%7E%61/b?q={%zz}": "/ok/%7E%61/b?q={%zz}",
		"/ok/{x}|y":            "/ok/%7Bx%7D%7Cy",
		"/ok?":                 "/ok?",
		"/ok/a%20b":            "/ok/a%20b",
	} {
		c := b.tunnel("allowed.test", "allowed.test")
		c.send("GET " + sent + " HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\n\r\n")
		resp := c.response("GET")
		var s seen
		check(t, json.NewDecoder(resp.Body).Decode(&s))
		if s.URI != want {
			t.Errorf("sent %q, the origin saw %q, want %q", sent, s.URI, want)
		}
	}
	for _, ambiguous := range []string{"/ok/../x", "/ok/./x", "/ok/[x]", `/ok/%5c..%5cx`, "/ok/%00", "//ok", "/ok/%2e%2e%2fx"} {
		c := b.tunnel("allowed.test", "allowed.test")
		c.send("GET " + ambiguous + " HTTP/1.1\r\nHost: " + b.target("allowed.test") + "\r\n\r\n")
		if no := refused(t, c.response("GET"), 403, policy.ReasonPathAmbiguous); no.Path != ambiguous {
			t.Errorf("the refusal of %q names %q", ambiguous, no.Path)
		}
	}
	// Absolute form, where the path may be missing.
	plain := newBed(t, func(_ *bed, c *bedConfig) {
		c.routes[0].Matches = []sidecars.Match{{Paths: []sidecars.PathMatch{{Type: sidecars.MatchExact, Value: "/"}}}}
	})
	for target, status := range map[string]int{"": 200, "/": 200, "/x": 403, "?x": 200} {
		c := plain.raw()
		at := hostPort(schemeHTTP, authority{Host: "allowed.test", Port: plain.plainPort})
		c.send("GET http://" + at + target + " HTTP/1.1\r\nHost: " + at + "\r\nConnection: close\r\n\r\n")
		if resp := c.response("GET"); resp.StatusCode != status {
			t.Errorf("GET http://%s%s: %s, want %d", at, target, resp.Status, status)
		}
	}
}

func TestAllowlistShowsMatches(t *testing.T) {
	b := matchBed(t)
	resp, err := b.client(false).Get("http://_egress.local/allowlist")
	check(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(t, err)
	var got struct {
		Bottle, Default string
		Allowed         []allowedHost
	}
	check(t, json.Unmarshal(body, &got))
	first := got.Allowed[0]
	if first.Host != "allowed.test" || !first.GitFetch || len(first.Matches) != 3 || first.Matches[0].Paths[0].Value != "/ok" ||
		!slices.Equal(first.Matches[0].Methods, []string{"GET", "POST"}) || !slices.Equal(first.Matches[1].Headers, []string{"X-Team"}) {
		t.Errorf("the first route is shown as %+v", first)
	}
	if !strings.Contains(first.Summary, "GET or POST on /ok and below") {
		t.Errorf("summary = %q", first.Summary)
	}
	if bytes.Contains(body, []byte(matchedValue)) {
		t.Error("the list shows a header's value")
	}
}

func TestExplain(t *testing.T) {
	b := matchBed(t)
	c := b.client(false)
	ask := func(t *testing.T, query string) (*http.Response, []byte) {
		t.Helper()
		resp, err := c.Get("http://_egress.local/explain?" + query)
		check(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		check(t, err)
		resp.Body = io.NopCloser(bytes.NewReader(body))
		for _, not := range []string{testToken, "T0", matchedValue, "secret=1"} {
			if bytes.Contains(body, []byte(not)) {
				t.Errorf("the answer shows %q: %s", not, body)
			}
		}
		return resp, body
	}
	tests := []struct {
		method, host, path string
		want               explanation
	}{
		{"", "allowed.test", "/ok/x", explanation{Allowed: true, Rule: "allowed.test", Match: "GET or POST on /ok and below"}},
		{"delete", "allowed.test", "/ok/x", explanation{Rule: "allowed.test", Layer: policy.LayerMatch, Reason: policy.ReasonMethodNotAllowed}},
		{"GET", "allowed.test", "/team", explanation{Rule: "allowed.test", Layer: policy.LayerMatch, Reason: policy.ReasonHeaderNotAllowed}},
		{"GET", "allowed.test", "/ok/%2e%2e/x", explanation{Rule: "allowed.test", Layer: policy.LayerMatch, Reason: policy.ReasonPathAmbiguous}},
		{"POST", "auth.test", "/", explanation{Allowed: true, Rule: "auth.test", Credential: true}},
		{"GET", "a.b.wild.test", "/", explanation{Allowed: true, Rule: "*.wild.test"}},
		{"GET", "evil.test", "/", explanation{Layer: policy.LayerHost, Reason: policy.ReasonHostNotAllowed}},
		{"TRACE", "other.test", "/", explanation{Rule: "other.test", Layer: policy.LayerProtocol, Reason: policy.ReasonMethod}},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.host+tt.path, func(t *testing.T) {
			resp, body := ask(t, url.Values{"url": {b.secureURL(tt.host, tt.path) + "?secret=1#x"}, "method": {tt.method}}.Encode())
			var got explanation
			check(t, json.Unmarshal(body, &got))
			if got.Host != tt.host || got.Port != b.securePort || got.Path != tt.path || got.Method == "" {
				t.Errorf("the answer is about %s %s:%d%s", got.Method, got.Host, got.Port, got.Path)
			}
			if !got.Allowed && (got.Message == "" || got.Ask == "") {
				t.Errorf("the answer is incomplete: %s", body)
			}
			got.Method, got.Host, got.Port, got.Path, got.Message, got.Ask = "", "", 0, "", "", ""
			if resp.StatusCode != 200 || got != tt.want {
				t.Errorf("%s %+v, want %+v", resp.Status, got, tt.want)
			}
		})
	}
	for _, query := range []string{"", "url=allowed.test", "url=ftp://allowed.test/", "url=%zz", "url=https://allowed.test/&method=G%20T", "url=https://a@allowed.test/"} {
		resp, _ := ask(t, query)
		refused(t, resp, 400, reasonQuestion)
	}
	if strings.Contains(b.log.String(), "secret=1") {
		t.Error("the log holds the question")
	}
}
