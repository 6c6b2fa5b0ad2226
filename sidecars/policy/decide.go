package policy

import (
	"fmt"
	"net/http"
	"strings"
)

const (
	schemeHTTP  = "http"
	schemeHTTPS = "https"
)

// Layers of a refusal.
const (
	LayerHost     = "host"     // host, port and scheme against the routes
	LayerProtocol = "protocol" // what no route can allow, and git
	LayerMatch    = "match"    // path, method and headers against the route's matches
)

// Reasons of a refusal are stable codes: scripts and models branch on them.
const (
	ReasonHostNotAllowed   = "host_not_allowed"
	ReasonPortNotAllowed   = "port_not_allowed"
	ReasonIPLiteral        = "ip_literal_refused"
	ReasonPlainHTTP        = "plain_http_refused"
	ReasonMethod           = "method_refused"
	ReasonConnectInside    = "connect_in_tunnel"
	ReasonUpgrade          = "upgrade_refused"
	ReasonGitPush          = "git_push_refused"
	ReasonGitFetch         = "git_fetch"
	ReasonPathNotAllowed   = "path_not_allowed"
	ReasonPathAmbiguous    = "path_ambiguous"
	ReasonMethodNotAllowed = "method_not_allowed"
	ReasonHeaderNotAllowed = "header_not_allowed"
)

const (
	askFix  = "This needs no permission: correct the request and send it again."
	askNone = "This is never allowed through the proxy; find another way to do the task."
)

// Request is what a decision is made on.
type Request struct {
	Scheme   string // "http" or "https"
	Method   string
	Host     string // as ParseHost returns it
	Port     int
	RawPath  string // as it goes to the server, still escaped
	RawQuery string // the same
	Header   http.Header
	Upgrade  string // the Upgrade header, "" when absent
}

// Decision is the answer, and for a refusal the reason. It never holds a
// header's value.
type Decision struct {
	Allow bool
	Route int    // index of the route that decided, -1 when none did
	Match int    // index of the match that allowed or came closest, -1 when none did
	Rule  string // host of the route that decided
	// The rest is empty in an allowance.
	Layer   string
	Reason  string
	Message string // one sentence for people and models
	Ask     string // how to get what was wanted
}

func (d Decision) refuse(layer, reason, message, ask string) Decision {
	d.Allow, d.Layer, d.Reason, d.Message, d.Ask = false, layer, reason, message, ask
	return d
}

// Decide judges one request. The order is that of cost to the agent: what can
// never be allowed comes after what a route could allow, so that a refusal
// names the first thing to change.
func (p *Policy) Decide(r Request) Decision {
	d := p.DecideHost(r.Scheme, Authority{Host: r.Host, Port: r.Port})
	if !d.Allow {
		return d
	}
	if r.Method == http.MethodConnect {
		return d.refuse(LayerProtocol, ReasonConnectInside, "CONNECT inside a tunnel or as an HTTP/2 stream is not allowed.",
			"Open a connection of its own to the proxy for each host.")
	}
	if neverMethod(r.Method) {
		return d.refuse(LayerProtocol, ReasonMethod, "TRACE would hand injected headers back and is not allowed.", askNone)
	}
	if no := DecideUpgrade(r.Upgrade); !no.Allow {
		return d.refuse(no.Layer, no.Reason, no.Message, no.Ask)
	}
	use := gitUseOf(&r)
	route := &p.routes[d.Route]
	switch {
	case use == gitPush:
		return d.refuse(LayerProtocol, ReasonGitPush, "Pushing with git over HTTPS is not allowed; pushes are scanned and go through the git gate.",
			"Push to the remote given in GIT_GATE_URL; if it is not set, leave the commits in the workspace and say so.")
	case use == gitFetch && !route.in.GitFetch:
		return d.refuse(LayerProtocol, ReasonGitFetch, fmt.Sprintf("Host %s is allowed, but not cloning and fetching from it with git over HTTPS.", r.Host),
			fmt.Sprintf("Ask the operator to add git: {fetch: true} to the route for %q in this bottle's manifest, with the reason you need it.", d.Rule))
	case len(route.matches) == 0:
		return d
	}
	return route.decide(d, r, use)
}

// decide judges a request by the route's matches. It is passed by value: only
// what comes here costs an allocation.
func (r *route) decide(d Decision, q Request, use gitUse) Decision {
	v := view{r: &q}
	for i := range r.matches {
		m := &r.matches[i]
		if v.satisfies(m) || use == gitFetch && v.liftsMethods(m) {
			d.Match = i
			return d
		}
	}
	return closest(d, r, &v)
}

// liftsMethods reports whether m allows the request as one of a fetch's.
func (v *view) liftsMethods(m *match) bool {
	if v.readPath(); v.pathFault != nil || len(v.overrides) > 0 {
		return false
	}
	return isPlainFetch(v.r, v.path) && v.pathHolds(m) && v.headersHold(m)
}

// DecideHost judges host, port and scheme: all that is known at a CONNECT.
func (p *Policy) DecideHost(scheme string, to Authority) Decision {
	d := Decision{Route: -1, Match: -1}
	i, ok := p.Find(to.Host)
	if !ok {
		return d.unlisted(to.Host)
	}
	r := &p.routes[i]
	d.Route, d.Rule = i, r.in.Host
	if scheme == schemeHTTP && r.in.Auth != nil {
		// A credential must never travel in the clear, and sending the
		// request without it would surprise everybody.
		return d.refuse(LayerHost, ReasonPlainHTTP, fmt.Sprintf("Requests to %s carry a credential and go over https only.", to.Host),
			"Use the https:// form of the URL.")
	}
	if scheme != schemeHTTP && scheme != schemeHTTPS || !r.serves(scheme, to.Port) {
		return d.refuse(LayerHost, ReasonPortNotAllowed, fmt.Sprintf("Host %s is allowed, but not %s on port %d.", to.Host, scheme, to.Port),
			fmt.Sprintf("Ask the operator to add port %d to the route for %q in this bottle's manifest, with the reason you need it.", to.Port, to.Host))
	}
	d.Allow = true
	return d
}

func (d Decision) unlisted(host string) Decision {
	if NumericHost(host) {
		return d.refuse(LayerHost, ReasonIPLiteral, fmt.Sprintf("The address %s is not allowed: routes name hosts, not addresses.", host),
			"Use the server's name; for a private address without one, ask the operator for a route that names exactly this address.")
	}
	return d.refuse(LayerHost, ReasonHostNotAllowed, fmt.Sprintf("Host %s is not on this bottle's allowlist.", host),
		fmt.Sprintf("Ask the operator to add a route for host %q under egress.routes in this bottle's manifest, with the reason you need it; http://%s/allowlist lists what is allowed now.",
			host, LocalHost))
}

// DecideUpgrade allows WebSocket and nothing else: what follows any other
// switch of protocol could not be read as requests any more.
func DecideUpgrade(upgrade string) Decision {
	d := Decision{Allow: true, Route: -1, Match: -1}
	if upgrade == "" || strings.EqualFold(upgrade, "websocket") {
		return d
	}
	if strings.Contains(strings.ToLower(upgrade), "h2c") {
		return d.refuse(LayerProtocol, ReasonUpgrade, "Upgrading to HTTP/2 without TLS (h2c) is not allowed.",
			"Use HTTP/1.1, or https:// with HTTP/2.")
	}
	return d.refuse(LayerProtocol, ReasonUpgrade, "The only protocol a connection may be upgraded to is websocket.", askNone)
}
