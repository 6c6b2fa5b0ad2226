package tools

import (
	"fmt"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// howToAsk says who can change a refusal, or what to do instead. It never names
// a tool: none of them widens policy.
func howToAsk(d sidecars.Decision) string {
	if text, ok := reasonAdvice(d); ok {
		return text
	}
	if text, ok := layerAdvice(d); ok {
		return text
	}
	return "This is not allowed by any route; find another way, or tell the user what you need and why."
}

// reasonAdvice is what holds for one reason and not for its whole layer.
func reasonAdvice(d sidecars.Decision) (string, bool) {
	host := cleanLine(d.Host, 260)
	switch d.Reason {
	case "port_not_allowed":
		return fmt.Sprintf("Use the port that the route for host %q has, or tell the user that port %d is needed and why: only the operator can add it to `ports` of that route.", host, d.Port), true
	case "ip_literal_refused":
		return "Use the host's name instead of its address.", true
	case "plain_http_refused":
		return "No permission is needed: use an https:// URL.", true
	case "git_push_refused":
		return "Pushing over HTTPS is never allowed. Commit in the bottle and leave the push to the user, or to the git gate where the bottle has one.", true
	case "path_ambiguous":
		return "No permission is needed: write the path without encoded slashes, dot segments, backslashes or doubled encoding, and send it again.", true
	case "route_revoked":
		return "The operator changed the policy while this ran. Read http://_egress.local/allowlist in the bottle for what is allowed now.", true
	case "too_many_connections":
		return "No permission is needed: close connections, or run less at once.", true
	case "client_tls_failed":
		return "No permission is needed: let the program trust the bottle's certificate authority, whose file SSL_CERT_FILE and its like name in the bottle.", true
	case "upstream_certificate_invalid":
		return fmt.Sprintf("The server's certificate is not valid, and that check cannot be turned off. Check the spelling of host %q, and tell the user.", host), true
	case "audit_unavailable":
		return ledgerAdvice, true
	}
	return "", false
}

const ledgerAdvice = "Nothing gets out while decisions cannot be recorded. Tell the user that the bottle's ledger is full or its disk is; the operator can make room, or launch another bottle."

// layerAdvice is what holds for all refusals of a layer.
func layerAdvice(d sidecars.Decision) (string, bool) {
	host := cleanLine(d.Host, 260)
	switch d.Layer {
	case "host":
		return fmt.Sprintf("Only the operator can allow this: a route for host %q (port %d) under egress.routes in the bottle's manifest, then a new launch. Tell the user which host and why.", host, d.Port), true
	case "match":
		return fmt.Sprintf("The host is allowed, this request to it is not: only the operator can add the path, method or header to `matches` of the route for host %q. Tell the user which request and why.", host), true
	case "address":
		return fmt.Sprintf("Only the operator can allow a private address: `private` in the route for host %q, then a new launch. Tell the user which address and why.", host), true
	case "parse", "identity":
		return "No permission is needed: the request was malformed or names two servers. Correct it and send it again.", true
	case "protocol", "git":
		return "This is never allowed through the proxy, whatever the route: find another way, or tell the user what you need and why.", true
	case "dlp":
		return fmt.Sprintf("The request holds what looks like a secret. Take it out and send it again. If it is none, tell the user which part was taken for one: only the operator can change `dlp` of the route for host %q.", host), true
	case "pin":
		return fmt.Sprintf("Send the request without a credential of your own, in headers, query and cookies: the proxy puts the operator's in for host %q.", host), true
	case "budget":
		return fmt.Sprintf("The budget of the route for host %q is used up. Wait when it is one per minute, send less, or tell the user: only the operator can raise `budget`.", host), true
	case "response":
		return fmt.Sprintf("The answer is larger, or of another type, than the route for host %q allows. Ask for a part of it or in another form, or tell the user: only the operator can change `response`.", host), true
	case "ledger":
		return ledgerAdvice, true
	case "upstream", "proxy":
		return "This is no matter of policy: try again later, and tell the user if it stays.", true
	}
	return "", false
}
