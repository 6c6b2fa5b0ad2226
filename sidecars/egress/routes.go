package egress

import (
	"errors"
	"reflect"
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
	// response bounds answers; nil is no bound.
	response *sidecars.ResponseRules
	// meter counts what is used; nil where nothing is bounded. budgeted says that
	// bodies count.
	meter    *meter
	budgeted bool
	scans    scanRules
}

// carriesOutAs reports whether a request of route o would be carried out in the
// same way under r.
func (r *route) carriesOutAs(o *route) bool {
	return r.rule == o.rule && r.auth.equal(o.auth) && slices.Equal(r.private, o.private) &&
		r.budgeted == o.budgeted && reflect.DeepEqual(r.scans, o.scans) && reflect.DeepEqual(r.response, o.response)
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
		t.routes = append(t.routes, route{rule: in.Host, auth: auth, response: in.Response, budgeted: in.Budget != nil, scans: scanRulesOf(in.DLP)})
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	for i := range t.routes {
		t.routes[i].private = compiled.Private(i)
	}
	return t, nil
}
