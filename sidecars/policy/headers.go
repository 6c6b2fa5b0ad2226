package policy

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// HopByHop reports whether a header concerns one connection only and is never
// passed on. name is in canonical form.
func HopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return strings.HasPrefix(name, "Proxy-")
}

// longestCredential is above the length of every name that CarriesCredential
// knows: what it is asked for with every header of every request needs no memory.
const longestCredential = 48

// FoldHeaderByte is a byte of a header's name as servers compare it that do not
// tell "_" from "-". Names are ASCII.
func FoldHeaderByte(c byte) byte {
	switch {
	case c == '_':
		return '-'
	case c >= 'A' && c <= 'Z':
		return c + ('a' - 'A')
	}
	return c
}

// CarriesCredential reports whether a header carries a credential of the
// agent's own: those of HTTP itself, and the API keys of known providers.
// Servers that hand headers to programs as variables do not tell "_" from "-",
// so neither does this.
func CarriesCredential(name string) bool {
	var buf [longestCredential]byte
	if len(name) > len(buf) {
		return false
	}
	folded := append(buf[:0], name...)
	for i, c := range folded {
		folded[i] = FoldHeaderByte(c)
	}
	switch string(folded) {
	case "authorization", "proxy-authorization", "x-authorization", "x-forwarded-authorization",
		"x-api-key", "api-key", "apikey", "x-apikey", "x-api-token", "api-token", "x-api-secret",
		"x-auth-token", "x-auth-key", "x-auth", "x-access-token", "access-token", "x-access-key", "x-token", "x-user-token", "x-session-token",
		"x-goog-api-key", "x-goog-iam-authorization-token", "x-serverless-authorization", "x-amz-security-token", "x-amzn-authorization",
		"ocp-apim-subscription-key", "x-functions-key", "x-ms-authorization-auxiliary", "x-rapidapi-key",
		"private-token", "job-token", "deploy-token", "x-gitlab-token", "x-github-token", "circle-token", "x-buildkite-token", "travis-token",
		"x-vault-token", "x-consul-token", "x-nomad-token", "x-figma-token", "x-shopify-access-token", "x-okta-token", "x-jfrog-art-api",
		"dd-api-key", "dd-application-key", "x-honeycomb-team", "x-insert-key", "x-query-key", "x-license-key", "x-sentry-auth", "x-datadog-api-key",
		"xi-api-key", "x-subscription-token", "x-postmark-server-token", "x-postmark-account-token", "x-mailgun-token", "x-pm-token",
		"x-algolia-api-key", "x-typesense-api-key", "x-meili-api-key", "x-n8n-api-key", "x-linode-token", "x-parse-rest-api-key", "x-parse-master-key",
		"x-hasura-admin-secret", "x-app-token", "x-apikey-token", "x-nuget-apikey", "npm-auth-token", "x-jwt-assertion", "x-id-token", "x-refresh-token":
		return true
	}
	return false
}

// checkHeaderName refuses what cannot be compared, or what a rule on it would
// not mean.
func checkHeaderName(name string) error {
	folded, err := travellingHeader(name)
	switch {
	case err != nil:
		return err
	case CarriesCredential(folded), folded == "Cookie", folded == "Set-Cookie":
		return errors.New("a credential has no place in a policy, which everybody may read; inject it with auth")
	case folded == "Host" || folded == "Content-Length":
		return errors.New("this header says where the request goes or ends and is checked as such; use host, paths and methods")
	case kindOf(folded) != plainHeader:
		return fmt.Errorf("this header replaces the method or path to some servers; use methods and paths")
	}
	return nil
}

// travellingHeader refuses what is no header, or none that reaches the server. It
// gives the name as servers read it that do not tell "_" from "-".
func travellingHeader(name string) (folded string, err error) {
	if name == "" || len(name) > 128 {
		return "", errors.New("a header's name must have 1 to 128 characters")
	}
	for _, c := range []byte(name) {
		if !isToken(c) {
			return "", errors.New("a header's name may hold letters, digits and !#$%&'*+-.^_`|~ only")
		}
	}
	folded = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	if HopByHop(folded) {
		return "", errors.New("this header concerns the connection to the proxy and does not travel on")
	}
	return folded, nil
}

func isToken(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// headerKind tells the headers that some servers take for the method or path.
type headerKind int

const (
	plainHeader headerKind = iota
	methodHeader
	pathHeader
)

func kindOf(name string) headerKind {
	if len(name) < len("X-Http-Method") || name[0]|0x20 != 'x' {
		return plainHeader
	}
	for _, s := range [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		if sameHeader(name, s) {
			return methodHeader
		}
	}
	for _, s := range [...]string{"X-Original-Url", "X-Rewrite-Url", "X-Original-Uri", "X-Rewrite-Uri", "X-Forwarded-Uri", "X-Forwarded-Path"} {
		if sameHeader(name, s) {
			return pathHeader
		}
	}
	return plainHeader
}

// sameHeader compares names as servers do that do not tell "_" from "-".
func sameHeader(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldByte(a[i]) != foldByte(b[i]) {
			return false
		}
	}
	return true
}

func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	case c == '_':
		return '-'
	}
	return c
}

// holds reports whether the header occurs once, in one spelling, travels on,
// and has a value that the rule accepts.
func (r *headerRule) holds(h http.Header) bool {
	values := h[r.name]
	if len(values) != 1 {
		return false
	}
	for name := range h {
		if len(name) == len(r.name) && name != r.name && sameHeader(name, r.name) {
			return false
		}
	}
	for _, line := range h["Connection"] {
		for word := range strings.SplitSeq(line, ",") {
			if sameHeader(strings.Trim(word, " \t"), r.name) {
				return false
			}
		}
	}
	return r.accepts(values[0])
}

func (r *headerRule) accepts(value string) bool {
	if r.expr != nil {
		return len(value) <= maxPath && r.expr.MatchString(value)
	}
	return value == r.value
}

// ValidHeader reports whether a request can carry a header of this name and value.
func ValidHeader(name, value string) bool {
	valid := name != ""
	for _, c := range []byte(name) {
		valid = valid && isToken(c)
	}
	for _, c := range []byte(value) {
		valid = valid && (c == '\t' || c >= ' ' && c != 0x7f)
	}
	return valid
}
