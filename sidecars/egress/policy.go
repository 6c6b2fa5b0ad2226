package egress

import (
	"net/http"

	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

const (
	schemeHTTP  = "http"
	schemeHTTPS = "https"
)

// authority is a canonical host and port.
type authority = policy.Authority

// ask is one request as the policy sees it: already parsed, nothing secret but
// the headers.
type ask struct {
	method   string
	scheme   string
	to       authority // where it goes, canonical
	path     string    // as it goes on, still escaped
	query    string    // the same
	header   http.Header
	upgrade  string // the Upgrade header, "" when absent
	inTunnel bool
}

// decide returns the route that allows the request, or why none does.
func (t *table) decide(a ask) (*route, *refusal) {
	d := t.policy.Decide(policy.Request{Scheme: a.scheme, Method: a.method, Host: a.to.Host, Port: a.to.Port,
		RawPath: a.path, RawQuery: a.query, Header: a.header, Upgrade: a.upgrade})
	return t.answer(d)
}

// decideHost judges host, port and scheme: all that is known at a CONNECT.
func (t *table) decideHost(scheme string, to authority) (*route, *refusal) {
	return t.answer(t.policy.DecideHost(scheme, to))
}

func (t *table) answer(d policy.Decision) (*route, *refusal) {
	if !d.Allow {
		return nil, denied(d)
	}
	return &t.routes[d.Route], nil
}

// denied turns a refusal of the policy into the answer to the client.
func denied(d policy.Decision) *refusal {
	return &refusal{Status: http.StatusForbidden, Layer: d.Layer, Reason: d.Reason, Message: d.Message, Rule: d.Rule, Ask: d.Ask}
}

// decideTunnel judges a CONNECT, before it is known what will be spoken in the
// tunnel: one of the two schemes must be allowed. It returns the rule.
func (t *table) decideTunnel(to authority) (rule string, no *refusal) {
	if to == localAuthority() {
		return localHost, nil
	}
	r, no := t.decideHost(schemeHTTPS, to)
	if no == nil {
		return r.rule, nil
	}
	if r, plain := t.decideHost(schemeHTTP, to); plain == nil {
		return r.rule, nil
	}
	return "", no
}

// localAuthority is where the proxy's own pages are.
func localAuthority() authority { return authority{Host: localHost, Port: portHTTP} }
