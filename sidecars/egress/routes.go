package egress

import (
	"errors"
	"fmt"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// localHost answers questions about the policy itself and cannot be a route.
const localHost = policy.LocalHost

const (
	portHTTP  = 80
	portHTTPS = 443
)

// route is what the proxy needs of a route beyond the decision.
type route struct {
	rule    string // as configured, for refusals and the log
	auth    *credential
	private policy.Private
}

// carriesOutAs reports whether a request of route o would be carried out in the
// same way under r.
func (r *route) carriesOutAs(o *route) bool {
	return r.rule == o.rule && r.auth.equal(o.auth) && slices.Equal(r.private, o.private)
}

// credential is what a route puts on a request.
type credential struct {
	scheme string
	token  secret.Value
}

// header is the Authorization value. Use it only on a request about to leave.
func (c *credential) header() string { return c.scheme + " " + c.token.Reveal() }

// equal compares what is put on a request; nil is nothing.
func (c *credential) equal(o *credential) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.header() == o.header()
}

// table is the compiled policy, and beside each of its routes the credential.
type table struct {
	policy *policy.Policy
	routes []route
}

// lookup finds the route that decides a canonical host, or nil.
func (t *table) lookup(host string) *route {
	i, ok := t.policy.Find(host)
	if !ok {
		return nil
	}
	return &t.routes[i]
}

// newTable validates every route and gathers all mistakes.
func newTable(routes []sidecars.Route, tokens map[string]secret.Value) (*table, error) {
	compiled, err := policy.Compile(routes)
	faults := []error{err}
	t := &table{policy: compiled}
	for i, in := range routes {
		auth, err := newCredential(in.Auth, tokens)
		if err != nil {
			faults = append(faults, &policy.RouteError{Index: i, Host: in.Host, Err: err})
		}
		t.routes = append(t.routes, route{rule: in.Host, auth: auth})
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	for i := range t.routes {
		t.routes[i].private = compiled.Private(i)
	}
	return t, nil
}

func newCredential(in *sidecars.Auth, tokens map[string]secret.Value) (*credential, error) {
	if in == nil {
		return nil, nil
	}
	if in.Scheme != "Bearer" && in.Scheme != "token" {
		return nil, fmt.Errorf(`auth scheme %.40q is not known; use "Bearer" or "token"`, in.Scheme)
	}
	token, ok := tokens[in.Slot]
	if !ok || token.Empty() {
		return nil, fmt.Errorf("auth slot %.80q holds no token; hand over one for it", in.Slot)
	}
	for _, c := range []byte(token.Reveal()) {
		if c <= ' ' || c > '~' {
			return nil, fmt.Errorf("the token in auth slot %.80q holds a blank, a control or a non-ASCII character; hand over the bare token", in.Slot)
		}
	}
	return &credential{scheme: in.Scheme, token: token}, nil
}
