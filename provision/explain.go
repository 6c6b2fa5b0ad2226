package provision

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// ExplainRequest is one request that somebody may make from a bottle.
type ExplainRequest struct {
	Agent     string   // agent manifest; "" = none
	Bottles   []string // merged in order; none = the agent's, else "default"
	Workspace string   // absolute; also finds agents there
	URL       string   // absolute, http or https
	Method    string   // "" = GET
	Header    http.Header
}

// UnclearError is a question that cannot be answered.
type UnclearError struct{ Problem string }

func (e *UnclearError) Error() string { return e.Problem }

// Explanation says what a bottle's policy decides about one request, and what
// in which file decides it. It holds no credential, no query and no header.
type Explanation struct {
	Allowed bool     `json:"allowed"`
	Agent   string   `json:"agent,omitempty"`
	Bottles []string `json:"bottles"`
	Method  string   `json:"method"`
	Scheme  string   `json:"scheme"`
	Host    string   `json:"host"`
	Port    int      `json:"port"`
	Path    string   `json:"path"`
	// Rule is the host of the route that decides, Route what it allows in words,
	// Origin where it is written; "" when no route decides.
	Rule   string      `json:"rule"`
	Route  string      `json:"route,omitempty"`
	Origin *RuleOrigin `json:"origin,omitempty"`
	// Match is the match that allows, or of a refusal the one that came closest.
	Match       string      `json:"match,omitempty"`
	MatchOrigin *RuleOrigin `json:"match_origin,omitempty"`
	// Credential is what would be put in, such as "Bearer from $NAME".
	Credential string `json:"credential,omitempty"`
	// Ports may be used; none = 443 for https and, unless HTTPSOnly, 80 for http.
	Ports     []int    `json:"ports,omitempty"`
	HTTPSOnly bool     `json:"https_only,omitempty"`
	Private   []string `json:"private,omitempty"`
	// The reason of a refusal, as the proxy gives it.
	Layer   string `json:"layer,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	Ask     string `json:"how_to_ask,omitempty"`
	// Change is what would have to be written for the request to pass.
	Change *Change `json:"change,omitempty"`
	// Unsupported are keys for which this version refuses to launch the bottle.
	Unsupported []string `json:"unsupported"`
}

// RuleOrigin is where a rule is written: a key of a manifest, or a provider.
type RuleOrigin struct {
	Provider string `json:"provider,omitempty"`
	Key      string `json:"key,omitempty"`
	File     string `json:"file,omitempty"` // "" = built in
	Line     int    `json:"line,omitempty"` // 0 = the file as a whole
}

// String is the origin for people.
func (o RuleOrigin) String() string {
	place := o.File
	switch {
	case o.File == "":
		place = "built in"
	case o.Line > 0:
		place += ":" + strconv.Itoa(o.Line)
	}
	if o.Provider != "" {
		return "provider " + o.Provider + ", " + place
	}
	return place
}

// Explain answers a question with the policy that a launch would have: the
// bottle's routes and its provider's, compiled and decided as the proxy does. It
// reads manifests of home and starts nothing. What the name resolves to, and what
// a scan or a budget would say, is not part of the answer. An error is a
// *UnclearError, or says what is wrong with a manifest.
func Explain(home string, q ExplainRequest) (*Explanation, error) {
	req, err := q.request()
	if err != nil {
		return nil, err
	}
	b, err := loadPolicy(home, q)
	if err != nil {
		return nil, err
	}
	e := b.explain(req)
	e.Agent = q.Agent
	for _, u := range Unsupported(b.bottle, nil) {
		e.Unsupported = append(e.Unsupported, u.Error())
	}
	return e, nil
}

// request reads the question as the proxy would read the request.
func (q ExplainRequest) request() (policy.Request, error) {
	req, err := policy.RequestFor(cmp.Or(q.Method, http.MethodGet), q.URL)
	if err != nil {
		return req, &UnclearError{Problem: "the question cannot be read: " + err.Error()}
	}
	if req.Host == policy.LocalHost {
		return req, &UnclearError{Problem: policy.LocalHost + " is the proxy's own name, which every bottle can ask"}
	}
	if req.Header == nil {
		req.Header = http.Header{}
	}
	for name, values := range q.Header {
		req.Header[name] = values
	}
	req.Upgrade = req.Header.Get("Upgrade")
	if strings.EqualFold(req.Upgrade, "websocket") && (req.Method != http.MethodGet || !strings.Contains(strings.ToLower(req.Header.Get("Connection")), "upgrade")) {
		return req, &UnclearError{Problem: "a WebSocket handshake is a GET request with the header Connection: Upgrade"}
	}
	return req, nil
}

// boundPolicy is a policy with what it was made from.
type boundPolicy struct {
	home     string
	names    []string
	bottle   *manifest.Bottle
	provider *provider.Provider // nil = none
	routes   []manifest.Route
	from     []int // as of effective
	policy   *policy.Policy
}

// loadPolicy makes the policy that a launch of these manifests would have.
func loadPolicy(home string, q ExplainRequest) (*boundPolicy, error) {
	loader := manifest.Loader{Home: home}
	b := &boundPolicy{home: home, names: slices.Clone(q.Bottles)}
	var agent *manifest.Agent
	if q.Agent != "" {
		var err error
		if agent, err = loader.Agent(q.Agent, q.Workspace); err != nil {
			return nil, err
		}
		if len(b.names) == 0 && agent.Bottle != "" {
			b.names = []string{agent.Bottle}
		}
	}
	if len(b.names) == 0 {
		b.names = []string{manifest.DefaultBottle}
	}
	var bottles []*manifest.Bottle
	for _, name := range b.names {
		one, err := loader.Bottle(name)
		if err != nil {
			return nil, err
		}
		bottles = append(bottles, one)
	}
	var err error
	if b.bottle, err = manifest.Merge(bottles); err != nil {
		return nil, err
	}
	if err := b.addProvider(providerName(b.bottle, agent)); err != nil {
		return nil, err
	}
	if b.policy, err = compileRoutes(b.routes); err != nil {
		return nil, fmt.Errorf("egress.routes of the manifest: %w", err)
	}
	return b, nil
}

// addProvider joins the provider's routes with the bottle's.
func (b *boundPolicy) addProvider(name string) error {
	var theirs []manifest.Route
	if name != "" {
		var err error
		if b.provider, err = (provider.Loader{Home: b.home}).Load(name); err != nil {
			return err
		}
		set := b.bottle.Provider
		theirs, err = b.provider.RoutesFor(provider.Settings{AuthToken: set.AuthToken, ForwardHostCredentials: set.ForwardHostCredentials})
		if err != nil {
			return asInvalid(err)
		}
	}
	b.routes, b.from = effective(b.bottle.Routes, theirs)
	return nil
}

// provided reports whether a route of the provider's decides a host.
func (b *boundPolicy) provided(host string) bool {
	i, ok := b.policy.Containing(host)
	return ok && b.from[i] < 0
}

// explain answers for one request.
func (b *boundPolicy) explain(req policy.Request) *Explanation {
	d := b.policy.Decide(req)
	e := &Explanation{
		Allowed: d.Allow, Bottles: b.names, Method: req.Method, Scheme: req.Scheme, Host: req.Host, Port: req.Port, Path: cmp.Or(req.RawPath, "/"),
		Rule: d.Rule, Match: b.policy.MatchWords(d), Layer: d.Layer, Reason: d.Reason, Message: d.Message, Ask: d.Ask, Unsupported: []string{},
	}
	if d.Route >= 0 {
		b.describe(e, d)
	}
	if !d.Allow {
		e.Change = b.change(d, req)
	}
	return e
}

// describe says which route decides, and where it is written.
func (b *boundPolicy) describe(e *Explanation, d policy.Decision) {
	r := b.routes[d.Route]
	e.Route, e.Ports, e.HTTPSOnly, e.Private = policy.Words(r.Sidecar("")), r.Ports, r.Auth != nil, r.Private
	e.Origin = b.origin(d.Route, "host")
	if d.Match >= 0 {
		at := "matches[" + strconv.Itoa(d.Match) + "]."
		e.MatchOrigin = b.origin(d.Route, at+"methods", at+"paths", at+"headers")
	}
	if d.Allow && r.Auth != nil {
		e.Credential = authWords(*r.Auth)
	}
}

// routeKey is the key of a route in its bottle, "" for a provider's.
func (b *boundPolicy) routeKey(route int) string {
	if i := b.from[route]; i >= 0 {
		return "egress.routes[" + strconv.Itoa(i) + "]"
	}
	return ""
}

// origin is where a key of a route stands, or of several the one that comes first
// in its file; without any of them it is the route's own place.
func (b *boundPolicy) origin(route int, keys ...string) *RuleOrigin {
	at := b.routeKey(route)
	if at == "" {
		return &RuleOrigin{Provider: b.provider.Name, File: b.provider.File}
	}
	var first *RuleOrigin
	for _, key := range keys {
		o, ok := b.bottle.Origins[at+"."+key]
		if ok && (first == nil || o.Line < first.Line) {
			first = &RuleOrigin{Key: at + "." + key, File: o.File, Line: o.Line}
		}
	}
	if first != nil {
		return first
	}
	o := b.bottle.Origins[at+".host"] // which every route has
	return &RuleOrigin{Key: at, File: o.File, Line: o.Line}
}
