package manifest

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// Bounds of what narrows a route.
const (
	maxMatches    = 64
	maxPaths      = 64
	maxMethods    = 32
	maxHeaders    = 16
	maxMatchValue = 1024
	maxRegex      = 512
)

// methods are those of RFC 9110 and of the extensions that servers know.
// CONNECT is the proxy's own, and TRACE shows a client what was injected.
var methods = []string{
	"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY",
	"ACL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR",
	"MKCOL", "MKWORKSPACE", "MOVE", "ORDERPATCH", "PROPFIND", "PROPPATCH", "REBIND", "REPORT", "SEARCH", "UNBIND",
	"UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "VERSION-CONTROL", "PURGE",
}

// credentialHeaders hold what a manifest never does.
var credentialHeaders = []string{
	"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token", "private-token", "x-goog-api-key",
}

// headerName is a token of RFC 9110.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")

func (p *parser) matches(a at) []sidecars.Match {
	if !p.filled(a, "the whole host") {
		return nil
	}
	var out []sidecars.Match
	p.list(a, maxMatches, func(item at) { out = append(out, p.match(item)) })
	return out
}

func (p *parser) match(a at) sidecars.Match {
	var m sidecars.Match
	ok := p.mapping(a, keys{read: map[string]func(at){
		"paths":   func(v at) { m.Paths = p.paths(v) },
		"methods": func(v at) { m.Methods = p.methods(v) },
		"headers": func(v at) { m.Headers = p.headers(v) },
	}})
	if ok && len(a.node.Content) == 0 {
		p.fail(a, "an entry needs paths, methods or headers; an empty one would allow the whole host", "remove it or say what it allows")
	}
	return m
}

func (p *parser) paths(a at) []sidecars.PathMatch {
	if !p.filled(a, "every path") {
		return nil
	}
	return distinct(p, a, maxPaths, p.pathMatch)
}

func (p *parser) pathMatch(a at) (sidecars.PathMatch, bool) {
	var m sidecars.PathMatch
	value := a
	ok := p.clean(func() bool {
		return p.mapping(a, keys{read: map[string]func(at){
			"type":  func(v at) { m.Type = p.matchType(v, sidecars.MatchExact, sidecars.MatchPrefix, sidecars.MatchRegex) },
			"value": func(v at) { value = v; m.Value, _ = p.str(v) },
		}})
	})
	switch {
	case !ok:
		return m, false
	case m.Type == "" || m.Value == "":
		p.fail(a, "a path needs both type and value", `write for example {type: prefix, value: /v1}`)
		return m, false
	}
	check := CheckPath
	if m.Type == sidecars.MatchRegex {
		check = checkRegex
	}
	if err := check(m.Value); err != nil {
		p.fail(value, err.Error(), "")
		return m, false
	}
	if m.Type == sidecars.MatchPrefix && m.Value != "/" {
		m.Value = strings.TrimSuffix(m.Value, "/") // whole segments either way
	}
	return m, true
}

// matchType reads the kind of a rule. The Gateway API's own words are close
// enough to be tried.
func (p *parser) matchType(a at, allowed ...string) string {
	instead := map[string]string{
		"Exact": sidecars.MatchExact, "PathPrefix": sidecars.MatchPrefix, "RegularExpression": sidecars.MatchRegex,
		"glob": sidecars.MatchPrefix, "regexp": sidecars.MatchRegex,
	}[a.node.Value]
	if slices.Contains(allowed, instead) {
		p.fail(a, fmt.Sprintf("%q is not accepted", a.node.Value), fmt.Sprintf("did you mean %q? allowed here: %s", instead, strings.Join(allowed, ", ")))
		return ""
	}
	return p.choice(a, allowed...)
}

// CheckPath reports why a path can never be that of a request: paths are
// compared in the one normalised form, and other forms are refused unread.
func CheckPath(s string) error {
	switch {
	case len(s) > maxMatchValue:
		return fmt.Errorf("a path may have at most %d bytes", maxMatchValue)
	case s[0] != '/':
		return errors.New("a path begins with '/'")
	case strings.ContainsAny(s, "?#"):
		return errors.New("a path holds no query and no fragment; write what stands before '?' or '#'")
	case strings.Contains(s, "*"):
		return errors.New(`a path holds no wildcard; "prefix" takes in everything below it, "regex" matches patterns`)
	}
	normal, err := policy.NormalizePath(s)
	switch {
	case err != nil:
		return fmt.Errorf("no request can match it: %w", err)
	case normal != s:
		return fmt.Errorf("write it as %q: requests are compared in this form", normal)
	}
	return nil
}

// checkRegex reports why s is no pattern. It is compiled when the bottle is
// complete; the proxy anchors it at both ends.
func checkRegex(s string) error {
	if len(s) > maxRegex {
		return fmt.Errorf("a pattern may have at most %d bytes", maxRegex)
	}
	if _, err := syntax.Parse(s, syntax.Perl); err != nil {
		return fmt.Errorf("it is not a pattern in RE2's syntax: %w", err)
	}
	return nil
}

func (p *parser) methods(a at) []string {
	if !p.filled(a, "every method") {
		return nil
	}
	return distinct(p, a, maxMethods, func(item at) (string, bool) {
		s, ok := p.str(item)
		if !ok {
			return "", false
		}
		s = strings.ToUpper(s)
		if !slices.Contains(methods, s) {
			p.fail(item, fmt.Sprintf("%.40q is not a method that can be allowed", s), suggestion(s, methods)+"write for example GET")
			return "", false
		}
		return s, true
	})
}

func (p *parser) headers(a at) []sidecars.HeaderMatch {
	if !p.filled(a, "any headers") {
		return nil
	}
	var out []sidecars.HeaderMatch
	p.list(a, maxHeaders, func(item at) {
		h, ok := p.header(item)
		if !ok {
			return
		}
		if slices.ContainsFunc(out, func(o sidecars.HeaderMatch) bool { return strings.EqualFold(o.Name, h.Name) }) {
			p.fail(item, fmt.Sprintf("header %q has a rule already", h.Name), "all headers of an entry must hold; put the other rule into an entry of its own")
			return
		}
		out = append(out, h)
	})
	return out
}

func (p *parser) header(a at) (sidecars.HeaderMatch, bool) {
	h := sidecars.HeaderMatch{Type: sidecars.MatchExact}
	value := a
	ok := p.clean(func() bool {
		return p.mapping(a, keys{read: map[string]func(at){
			"name":  func(v at) { h.Name = p.headerName(v) },
			"type":  func(v at) { h.Type = p.matchType(v, sidecars.MatchExact, sidecars.MatchRegex) },
			"value": func(v at) { value = v; h.Value, _ = p.str(v) },
		}})
	})
	switch {
	case !ok:
		return h, false
	case h.Name == "" || h.Value == "":
		p.fail(a, "a header needs both name and value", `write for example {name: Accept, value: application/json}`)
		return h, false
	case h.Type == sidecars.MatchRegex:
		if err := checkRegex(h.Value); err != nil {
			p.fail(value, err.Error(), "")
			return h, false
		}
	case len(h.Value) > maxMatchValue || strings.TrimSpace(h.Value) != h.Value || strings.ContainsFunc(h.Value, func(r rune) bool { return r < ' ' || r > '~' }):
		p.fail(value, fmt.Sprintf("a header's value is at most %d printable ASCII characters, without blanks around it", maxMatchValue), "")
		return h, false
	}
	return h, true
}

func (p *parser) headerName(a at) string {
	s, ok := p.str(a)
	lower := strings.ToLower(s)
	switch {
	case !ok:
		return ""
	case !headerName.MatchString(s):
		p.fail(a, fmt.Sprintf("%.80q is not the name of a header", s), `write for example "Accept"`)
	case lower == "host":
		p.fail(a, "the Host header is decided by the route's host", "remove it")
	case slices.Contains(credentialHeaders, lower):
		p.fail(a, fmt.Sprintf("%q holds a credential, which no manifest does", s), "remove it; auth says which credential is sent")
	default:
		return http.CanonicalHeaderKey(s)
	}
	return ""
}

// ValidMethod reports whether a match can name a method, in upper case.
func ValidMethod(s string) bool { return slices.Contains(methods, s) }
