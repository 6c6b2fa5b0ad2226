package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// localHost answers questions about the policy itself and cannot be a route.
const localHost = "_egress.local"

const (
	portHTTP  = 80
	portHTTPS = 443

	// The widest prefixes a private list may hold. Anything wider would not
	// name a network but switch the address check off.
	minPrefix4 = 8
	minPrefix6 = 7

	maxRoutes = 4096
)

// route is one validated sidecars.Route.
type route struct {
	rule    string // as configured, for refusals and the log
	ports   []int
	auth    *credential
	private []netip.Prefix
}

// credential is what a route puts on a request.
type credential struct {
	scheme string
	token  secret.Value
}

// header is the Authorization value. Use it only on a request about to leave.
func (c *credential) header() string { return c.scheme + " " + c.token.Reveal() }

// serves reports whether the route lets scheme reach port.
func (r *route) serves(scheme string, port int) bool {
	if len(r.ports) > 0 {
		return slices.Contains(r.ports, port)
	}
	if scheme == schemeHTTP {
		return port == portHTTP
	}
	return port == portHTTPS
}

// table is the whole policy: exact names, and wildcards by the suffix below
// which they match.
type table struct {
	exact  map[string]*route
	suffix map[string]*route
}

// lookup finds the most specific route for a canonical host, or nil.
func (t *table) lookup(host string) *route {
	if r, ok := t.exact[host]; ok {
		return r
	}
	if looksNumeric(host) {
		return nil // no wildcard covers an address
	}
	for rest := host; ; {
		_, below, ok := strings.Cut(rest, ".")
		if !ok {
			return nil
		}
		if r, ok := t.suffix[below]; ok {
			return r
		}
		rest = below
	}
}

// newTable validates every route and gathers all mistakes.
func newTable(routes []sidecars.Route, tokens map[string]secret.Value) (*table, error) {
	if len(routes) > maxRoutes {
		return nil, fmt.Errorf("%d routes, but at most %d are allowed", len(routes), maxRoutes)
	}
	t := &table{exact: map[string]*route{}, suffix: map[string]*route{}}
	var faults []error
	for i, in := range routes {
		if err := t.add(in, tokens); err != nil {
			faults = append(faults, fmt.Errorf("routes[%d] (host %.80q): %w", i, in.Host, err))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return t, nil
}

func (t *table) add(in sidecars.Route, tokens map[string]secret.Value) error {
	r := &route{rule: in.Host, ports: slices.Clone(in.Ports)}
	var err error
	if r.private, err = parsePrivate(in.Private); err != nil {
		return err
	}
	if err := checkPorts(in.Ports); err != nil {
		return err
	}
	if r.auth, err = newCredential(in.Auth, tokens); err != nil {
		return err
	}
	names, key := t.exact, in.Host
	if below, ok := strings.CutPrefix(in.Host, "*."); ok {
		names, key = t.suffix, below
		if err := checkWildcard(below); err != nil {
			return err
		}
	}
	if err := checkRouteHost(key, r.private); err != nil {
		return err
	}
	if _, ok := names[key]; ok {
		return errors.New("this host has a route already; merge the two")
	}
	names[key] = r
	return nil
}

// checkWildcard refuses what would cover a whole top-level domain or addresses.
func checkWildcard(below string) error {
	if !strings.Contains(strings.Trim(below, "."), ".") {
		return errors.New("a wildcard needs at least two labels after it, as in *.example.com")
	}
	if looksNumeric(below) {
		return errors.New("a wildcard cannot cover addresses")
	}
	return nil
}

// checkRouteHost demands the canonical form, so that the policy reads as it
// is applied.
func checkRouteHost(host string, private []netip.Prefix) error {
	if strings.Contains(host, "*") {
		return errors.New("a wildcard may stand only for the first labels, as in *.example.com")
	}
	canonical, err := parseHost(host)
	if err != nil {
		return err
	}
	if canonical != host {
		return fmt.Errorf("write it in lower case and without trailing dot: %q", canonical)
	}
	if host == localHost {
		return errors.New("this name is the proxy's own")
	}
	if !looksNumeric(host) {
		return nil
	}
	addr, ok := literalIP(host)
	if !ok {
		return errors.New("a host that ends in a number must be an IPv4 address in dotted form")
	}
	if !slices.Contains(private, netip.PrefixFrom(addr, addr.BitLen())) {
		return fmt.Errorf("an address as host must also stand in private, exactly: private: [%q]", host)
	}
	return nil
}

func checkPorts(ports []int) error {
	for i, p := range ports {
		if p < 1 || p > 65535 {
			return fmt.Errorf("port %d is not one of 1 to 65535", p)
		}
		if slices.Contains(ports[:i], p) {
			return fmt.Errorf("port %d is listed twice", p)
		}
	}
	return nil
}

func parsePrivate(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := parsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("private %.80q: %w", s, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" || addr.Is4In6() {
			return netip.Prefix{}, errors.New("write the plain address, without zone and not IPv4-mapped")
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New(`it is neither an address nor a prefix such as "10.0.0.0/8"`)
	case p.Addr().Is4In6():
		return netip.Prefix{}, errors.New("write the plain address, without zone and not IPv4-mapped")
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("it has bits set after the prefix; did you mean %s?", p.Masked())
	case p.Addr().Is4() && p.Bits() < minPrefix4, p.Addr().Is6() && p.Bits() < minPrefix6:
		return netip.Prefix{}, errors.New("it is too wide to name a network; list the networks meant")
	}
	return p, nil
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
