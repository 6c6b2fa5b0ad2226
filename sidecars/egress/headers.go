package egress

import (
	"net/http"
	"net/textproto"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// connectionNames returns the headers that Connection declares hop-by-hop.
func connectionNames(h http.Header) map[string]bool {
	var names map[string]bool
	for _, line := range h["Connection"] {
		for word := range strings.SplitSeq(line, ",") {
			word = textproto.CanonicalMIMEHeaderKey(strings.Trim(word, " \t"))
			if word == "" || word == "Close" || word == "Keep-Alive" {
				continue
			}
			if names == nil {
				names = map[string]bool{}
			}
			names[word] = true
		}
	}
	return names
}

// agentHeader is what goes upstream of the agent's headers.
func agentHeader(in http.Header, auth *credential) http.Header {
	named := connectionNames(in)
	out := make(http.Header, len(in)+2)
	for name, values := range in {
		if policy.HopByHop(name) || named[name] || name == "Host" || auth.replaces(name) || auth != nil && name == "Cookie" && auth.pin.cookies != sidecars.CookiesAllow {
			continue
		}
		out[name] = values
	}
	if hasToken(strings.Join(in["Te"], ","), "trailers") {
		out["Te"] = []string{"trailers"}
	}
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = []string{""} // or net/http adds its own
	}
	return out
}

// requestHeader puts the route's credential in place of the agent's own.
func requestHeader(kept http.Header, auth *credential) http.Header {
	if auth != nil {
		auth.put(kept)
	}
	return kept
}

// copyResponseHeader passes an upstream's headers on, without those that
// concern one connection, pretend to be the proxy's, or lead around it.
func copyResponseHeader(out, in http.Header) {
	named := connectionNames(in)
	for name, values := range in {
		if policy.HopByHop(name) || named[name] || name == "Alt-Svc" || strings.HasPrefix(name, "X-Bottle-") {
			continue
		}
		out[name] = values
	}
}

// trailerAllowed keeps out of trailers what is not allowed in a header either,
// and what only a header may say.
func trailerAllowed(name string, auth *credential) bool {
	switch name {
	case "Host", "Content-Length", "Content-Encoding", "Content-Type", "Cookie", "Set-Cookie", "Alt-Svc":
		return false
	}
	return !policy.HopByHop(name) && !auth.replaces(name)
}
