package egress

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// allowedHost is one route as the agent may see it.
type allowedHost struct {
	Host string `json:"host"`
	// Ports that may be used; empty means 443 for https and 80 for http.
	Ports []int `json:"ports,omitempty"`
	// Matches, one of which a request must satisfy; none means every request.
	Matches []allowedMatch `json:"matches,omitempty"`
	// GitFetch says that repositories can be cloned and fetched over https.
	GitFetch bool `json:"git_fetch,omitempty"`
	// HTTPSOnly is set where a credential is added to requests.
	HTTPSOnly bool `json:"https_only,omitempty"`
	// Credential says that the proxy adds one and drops the agent's own.
	Credential bool `json:"credential_injected,omitempty"`
	// Budget is what may be used and what was used by now.
	Budget *allowedBudget `json:"budget,omitempty"`
	// Summary says all of it in words.
	Summary string `json:"summary"`
}

// allowedBudget is a route's budget; limits that are missing are none.
type allowedBudget struct {
	Limits sidecars.Budget `json:"limits"`
	Used   usage           `json:"used"`
}

// allowedMatch is a sidecars.Match without the values of its headers.
type allowedMatch struct {
	Paths   []sidecars.PathMatch `json:"paths,omitempty"`
	Methods []string             `json:"methods,omitempty"`
	Headers []string             `json:"headers,omitempty"`
}

// renderAllowlist is the live table without secrets, slots, addresses or
// header values.
func renderAllowlist(bottle string, t *table) ([]byte, error) {
	list := struct {
		Bottle  string        `json:"bottle"`
		Default string        `json:"default"`
		Allowed []allowedHost `json:"allowed"`
	}{bottle, sidecars.Deny, []allowedHost{}}
	for i, r := range t.policy.Routes() {
		h := allowedHost{Host: r.Host, Ports: r.Ports, GitFetch: r.GitFetch, HTTPSOnly: r.Auth != nil, Credential: r.Auth != nil, Summary: policy.Words(r)}
		if m := t.routes[i].meter; m != nil {
			h.Budget = &allowedBudget{Used: m.usage()}
			if r.Budget != nil {
				h.Budget.Limits = *r.Budget
			}
		}
		for _, m := range r.Matches {
			shown := allowedMatch{Paths: m.Paths, Methods: m.Methods}
			for _, header := range m.Headers {
				shown.Headers = append(shown.Headers, header.Name)
			}
			h.Matches = append(h.Matches, shown)
		}
		list.Allowed = append(list.Allowed, h)
	}
	b, err := json.MarshalIndent(list, "", "  ")
	return append(b, '\n'), err
}

// serveLocal answers http://_egress.local/: questions about the proxy itself.
func (ex *exchange) serveLocal(a ask) {
	if a.method != http.MethodGet && a.method != http.MethodHead {
		no := protocolRefusal(reasonMethod, "The proxy's own pages can only be read.", "Use GET.")
		no.Status = http.StatusMethodNotAllowed
		ex.refuse(no)
		return
	}
	h := ex.w.Header()
	h.Set("Cache-Control", "no-store")
	ex.d.Rule, ex.d.Status = localHost, http.StatusOK
	switch a.path {
	case "/healthz":
		h.Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(ex.w, "ok %s\n", ex.p.bottle)
	case "/allowlist":
		h.Set("Content-Type", "application/json")
		ex.allowlist()
	case "/explain":
		ex.explain(a)
	default:
		ex.refuse(&refusal{Status: http.StatusNotFound, Layer: layerProxy, Reason: reasonUnknownLocal,
			Message: "The proxy has no such page.", Ask: "Read /allowlist, /explain?url=URL&method=METHOD or /healthz."})
	}
}

func (ex *exchange) allowlist() {
	b, err := renderAllowlist(ex.p.bottle, ex.p.current.Load().table)
	if err != nil {
		ex.refuse(unavailable(reasonInternal, "The answer could not be written."))
		return
	}
	_, _ = ex.w.Write(b)
}

// explanation says what would be decided about a request, and by what. It
// repeats nothing of the question but what a decision's record holds.
type explanation struct {
	Allowed bool   `json:"allowed"`
	Method  string `json:"method"`
	Host    string `json:"host"`
	Port    int    `json:"port"`
	Path    string `json:"path"`
	Rule    string `json:"rule"`            // host of the route that decides, "" when none does
	Match   string `json:"match,omitempty"` // the match that allows, in words
	// Credential says that the proxy would add one.
	Credential bool   `json:"credential_injected,omitempty"`
	Layer      string `json:"layer,omitempty"`
	Reason     string `json:"reason,omitempty"`
	Message    string `json:"message,omitempty"`
	Ask        string `json:"how_to_ask,omitempty"`
}

// explain answers /explain?url=URL&method=METHOD for a request without headers
// of its own. What the name resolves to is not part of the answer.
func (ex *exchange) explain(a ask) {
	values, err := url.ParseQuery(a.query)
	method := strings.ToUpper(values.Get("method"))
	if method == "" {
		method = http.MethodGet
	}
	var q policy.Request
	if err == nil {
		q, err = policy.RequestFor(method, values.Get("url"))
	}
	if err != nil {
		no := malformed(reasonQuestion, "The question cannot be read: "+err.Error()+".")
		no.Ask = "Ask as in http://" + localHost + "/explain?method=GET&url=https%3A%2F%2Fapi.example.com%2Fv1, with the URL percent-encoded."
		ex.refuse(no)
		return
	}
	b, err := json.MarshalIndent(ex.p.current.Load().table.explain(q), "", "  ")
	if err != nil {
		ex.refuse(unavailable(reasonInternal, "The answer could not be written."))
		return
	}
	ex.w.Header().Set("Content-Type", "application/json")
	_, _ = ex.w.Write(append(b, '\n'))
}

func (t *table) explain(q policy.Request) explanation {
	d := t.policy.Decide(q)
	e := explanation{Allowed: d.Allow, Method: q.Method, Host: q.Host, Port: q.Port, Path: q.RawPath,
		Rule: d.Rule, Layer: d.Layer, Reason: d.Reason, Message: d.Message, Ask: d.Ask}
	if d.Allow {
		e.Match, e.Credential = t.policy.MatchWords(d), t.routes[d.Route].auth != nil
	}
	return e
}
