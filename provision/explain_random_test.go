package provision

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
)

// asker makes policies and requests from an alphabet so small that they meet.
type asker struct{ *rand.Rand }

func pick[T any](g asker, from ...T) T { return from[g.IntN(len(from))] }

// bottle is the front matter of a random bottle, as JSON, which is YAML.
func (g asker) bottle() map[string]any {
	var routes []any
	seen := map[string]bool{}
	for range 1 + g.IntN(5) {
		host := pick(g, "*.ex.test", "*.a.ex.test", "ex.test", "x.ex.test", "a.ex.test", "x.a.ex.test", "y.test", "10.0.0.1")
		if seen[host] {
			continue
		}
		seen[host] = true
		r := map[string]any{"host": host}
		if host == "10.0.0.1" {
			r["private"] = []string{host}
		}
		if g.IntN(3) == 0 {
			r["ports"] = pick(g, []int{443}, []int{80, 443}, []int{8443})
		}
		if g.IntN(4) == 0 {
			r["auth"] = map[string]any{"scheme": pick(g, "Bearer", "token"), "token_ref": "TOKEN"}
		}
		if g.IntN(4) == 0 {
			r["git"] = map[string]any{"fetch": true}
		}
		if g.IntN(4) > 0 {
			r["matches"] = g.matches()
		}
		routes = append(routes, r)
	}
	return map[string]any{"egress": map[string]any{"routes": routes}}
}

func (g asker) matches() []any {
	var out []any
	for range 1 + g.IntN(3) {
		m := map[string]any{}
		if g.IntN(3) > 0 {
			m["paths"] = []any{pick(g,
				map[string]any{"type": "prefix", "value": pick(g, "/", "/a", "/a/b")},
				map[string]any{"type": "exact", "value": pick(g, "/", "/a", "/a/", "/a/b", "/b")},
				map[string]any{"type": "regex", "value": pick(g, "/a/.*", "/(a|b)", "(?i)/a/b", "/a/[^/]+")})}
		}
		if g.IntN(3) > 0 || len(m) == 0 {
			m["methods"] = pick(g, []string{"GET"}, []string{"GET", "HEAD"}, []string{"POST"}, []string{"GET", "DELETE"})
		}
		if g.IntN(4) == 0 {
			m["headers"] = []any{map[string]any{"name": "X-A", "type": pick(g, "exact", "regex"), "value": pick(g, "1", "2")}}
		}
		out = append(out, m)
	}
	return out
}

func (g asker) request() liveRequest {
	q := liveRequest{
		scheme: pick(g, "https", "https", "https", "http"), method: pick(g, "GET", "GET", "GET", "POST", "HEAD", "DELETE", "PUT", "TRACE", "PURGE"),
		host: pick(g, "x.ex.test", "y.ex.test", "a.ex.test", "x.a.ex.test", "y.a.ex.test", "ex.test", "y.test", "z.test", "10.0.0.1", "10.0.0.2"),
		target: pick(g, "", "/", "/a", "/a", "/a/", "/a/b", "/a/b", "/a/b/c", "/A/b", "/ab", "/b", "/%61/b", "/a%2Fb", "/a//b", "/a/../b", "/a/./b", "/a/b;c", "/*",
			"/a%5cb", "/a%00", "/a%252fb", "/caf%C3%A9", "/caf%c3%a9", "/a%zz", "/~a", "/a:b", "/a/b/info/refs", "/a/git-upload-pack", "/%67it-receive-pack"),
	}
	if q.port = 443; q.scheme == "http" {
		q.port = 80
	}
	q.port = pick(g, q.port, q.port, q.port, 443, 80, 8443)
	q.target += pick(g, "", "", "", "?x=1", "?_method=DELETE", "?service=git-upload-pack", "?service=git-receive-pack")
	for _, line := range [][2]string{{"X-A", "1"}, {"X-A", "2"}, {"X-Http-Method-Override", pick(g, "GET", "DELETE")}, {"X-Original-Url", "/b"}, {"X_a", "1"},
		{"Content-Type", "application/x-git-upload-pack-request"}, {"Accept", "*/*"}} {
		if g.IntN(8) == 0 {
			q.header = append(q.header, line)
		}
	}
	if q.method == http.MethodPost && strings.HasSuffix(q.target, "/git-upload-pack") && !slices.ContainsFunc(q.header, func(h [2]string) bool { return h[0] == "Content-Type" }) {
		q.header = append(q.header, [2]string{"Content-Type", "application/x-git-upload-pack-request"}) // as git does, and as explain supposes
	}
	if g.IntN(30) == 0 {
		q.header = append(q.header, [2]string{"Connection", "Upgrade"}, [2]string{"Upgrade", pick(g, "websocket", "h2c", "foo")})
	}
	return q
}
