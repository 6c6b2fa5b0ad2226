package manifest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

const (
	maxRoutes  = 1024
	maxPorts   = 64
	maxPrivate = 64
)

// Route allows one host.
type Route struct {
	// Host is lower case: an exact name, "*.suffix" or an IPv4 address.
	Host    string
	Ports   []int // empty = the scheme's own
	Auth    *Auth
	Private []string // private addresses and prefixes it may resolve to
	// Matches narrow the route: a request must satisfy one. None = the whole host.
	Matches  []sidecars.Match
	GitFetch bool // git over HTTPS may fetch; it may never push
	// DLP, Budget and Response are nil where nothing was said.
	DLP      *sidecars.DLP
	Budget   *sidecars.Budget
	Response *sidecars.ResponseRules
}

// Auth says which host variable holds the credential that is injected.
type Auth struct {
	Scheme   string // one of sidecars' schemes
	Header   string // name of the header, for sidecars.SchemeHeader
	TokenRef string // name of a host variable
	// Pin says what else counts as a credential of the agent's own; nil = the usual.
	Pin *sidecars.Pin
}

// Equal reports whether two routes allow the same.
func (r Route) Equal(o Route) bool { return reflect.DeepEqual(r, o) }

// Sidecar is the route as the egress proxy enforces it. slot is where the proxy
// finds the credential of a route that has one.
func (r Route) Sidecar(slot string) sidecars.Route {
	out := sidecars.Route{
		Host: r.Host, Ports: r.Ports, Private: r.Private, Matches: r.Matches, GitFetch: r.GitFetch,
		DLP: r.DLP, Budget: r.Budget, Response: r.Response,
	}
	if r.Auth != nil {
		out.Auth = &sidecars.Auth{Scheme: r.Auth.Scheme, Header: r.Auth.Header, Slot: slot, Pin: r.Auth.Pin}
	}
	return out
}

// egress reads the whole block.
func (p *parser) egress(a at, b *Bottle) {
	p.mapping(a, keys{
		read: map[string]func(at){
			"routes": func(a at) { b.Routes = p.routes(a) },
			"log":    func(a at) { b.EgressLog = p.logLevel(a) },
		},
		removed: removedKeys(),
	})
}

// logLevel accepts bot-bottle's levels but the one whose record holds secrets.
func (p *parser) logLevel(a at) int {
	n, ok := p.integer(a, 0, 2)
	if ok && n == 2 {
		p.fail(a, "level 2 is not accepted: a record of whole requests would hold the live tokens that egress puts in", "use 0 or 1; every decision is recorded either way")
		return 0
	}
	return int(n)
}

func (p *parser) routes(a at) []Route {
	var routes []Route
	lines := map[string]int{}
	p.list(a, maxRoutes, func(item at) {
		r, ok := p.route(item)
		if !ok {
			return
		}
		if first, twice := lines[r.Host]; twice {
			p.fail(item, fmt.Sprintf("host %q has a route already, in line %d", r.Host, first), "merge the two")
			return
		}
		lines[r.Host] = item.line()
		routes = append(routes, r)
	})
	return routes
}

func (p *parser) route(a at) (Route, bool) {
	var r Route
	host := a
	ok := p.clean(func() bool {
		return p.mapping(a, keys{
			read: map[string]func(at){
				"host":     func(v at) { host = v; r.Host = p.host(v) },
				"ports":    func(v at) { r.Ports = p.portList(v, maxPorts) },
				"auth":     func(v at) { r.Auth = p.auth(v) },
				"private":  func(v at) { r.Private = p.private(v) },
				"matches":  func(v at) { r.Matches = p.matches(v) },
				"git":      func(v at) { r.GitFetch = p.gitOverHTTPS(v) },
				"dlp":      func(v at) { r.DLP = p.dlp(v) },
				"budget":   func(v at) { r.Budget = p.budget(v) },
				"response": func(v at) { r.Response = p.response(v) },
			},
			refused: map[string]string{"role": "remove it: roles belonged to cred_proxy, which is gone; a credential is given by auth"},
			removed: removedKeys(),
		})
	})
	if !ok {
		return r, false
	}
	if r.Host == "" {
		p.fail(a, "a route needs a host", `write "host: api.example.com"`)
		return r, false
	}
	if addr, isAddr := address(r.Host); isAddr && !slices.Contains(r.Private, addr.String()) {
		p.fail(host, "an address as host needs the same address under private", "name the host, or add private: ["+addr.String()+"]")
		return r, false
	}
	return r, p.ownHeader(a, r)
}

func (p *parser) host(a at) string {
	s, ok := p.str(a)
	if !ok {
		return ""
	}
	s = strings.ToLower(s)
	if err := CheckHost(s); err != nil {
		p.fail(a, fmt.Sprintf("%.80q is not a host: %v", s, err), `write a name such as "api.example.com" or "*.example.com"`)
		return ""
	}
	return s
}

func (p *parser) private(a at) []string {
	return distinct(p, a, maxPrivate, func(item at) (string, bool) {
		s, ok := p.str(item)
		if !ok {
			return "", false
		}
		if err := checkPrefix(s); err != nil {
			p.fail(item, fmt.Sprintf("%.80q: %v", s, err), `write for example "10.1.0.0/16" or "127.0.0.1"`)
			return "", false
		}
		return s, true
	})
}

func (p *parser) gitOverHTTPS(a at) bool {
	fetch := false
	p.mapping(a, keys{
		read:    map[string]func(at){"fetch": func(v at) { fetch = p.boolean(v) }},
		refused: map[string]string{"push": "nothing is pushed over HTTPS; declare the repository under git-gate.repos, which scans what is pushed"},
	})
	return fetch
}
