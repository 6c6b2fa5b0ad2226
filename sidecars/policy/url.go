package policy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// CheckTarget reports why a path with its query, or a whole URL, cannot stand in a
// request's first line. What it refuses, the proxy refuses unread.
func CheckTarget(target string) error {
	for _, c := range []byte(target) {
		if c <= ' ' || c >= 0x7f || c == '#' || c == '\\' {
			return errors.New("the URL holds a character that must be percent-encoded")
		}
	}
	path, _, _ := strings.Cut(target, "?")
	for i := range len(path) {
		if path[i] == '%' && (len(path) < i+3 || !isHex(path[i+1]) || !isHex(path[i+2])) {
			return errors.New("the URL's path holds a percent sign that begins no escape")
		}
	}
	return nil
}

// RequestFor returns the request that a client would make of an absolute
// http:// or https:// URL, without the headers it may choose.
func RequestFor(method, rawURL string) (Request, error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != schemeHTTP && scheme != schemeHTTPS {
		return Request{}, errors.New("give an absolute URL that begins with http:// or https://")
	}
	if !isMethod(method) {
		return Request{}, fmt.Errorf("%.40q is no method; write it in upper case, as in GET", method)
	}
	rest, _, _ = strings.Cut(rest, "#")
	name, path := rest, ""
	if i := strings.IndexAny(rest, `/?\`); i >= 0 {
		name, path = rest[:i], rest[i:]
	}
	to, err := ParseAuthority(name, defaultPort(scheme))
	if err != nil {
		return Request{}, fmt.Errorf("the URL's host: %w", err)
	}
	if err := CheckTarget(path); err != nil {
		return Request{}, err
	}
	path, query, _ := strings.Cut(path, "?")
	// The proxy judges and forwards what net/url makes of the path.
	if u, err := url.ParseRequestURI(path); path != "" && err == nil {
		path = u.EscapedPath()
	}
	r := Request{Scheme: scheme, Method: method, Host: to.Host, Port: to.Port, RawPath: path, RawQuery: query}
	if method == http.MethodPost && strings.HasSuffix(path, "/"+gitUploadPack) {
		r.Header = http.Header{"Content-Type": {gitFetchType}} // as git sends it
	}
	return r, nil
}
