package manifest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

const (
	maxRoutes  = 1024
	maxPorts   = 64
	maxPrivate = 64

	maxHostLen  = 253
	maxLabelLen = 63
	// The widest prefixes that still name a network.
	minPrefix4, minPrefix6 = 8, 7

	// proxyHost is answered by the egress proxy itself.
	proxyHost = "_egress.local"
)

// Route allows one host.
type Route struct {
	// Host is lower case: an exact name, "*.suffix" or an IPv4 address.
	Host    string
	Ports   []int // empty = the scheme's own
	Auth    *Auth
	Private []string // private addresses and prefixes it may resolve to
}

// Auth says which host variable holds the credential that is injected.
type Auth struct {
	Scheme   string // "Bearer" or "token"
	TokenRef string // name of a host variable
}

// Equal reports whether two routes allow the same.
func (r Route) Equal(o Route) bool {
	sameAuth := (r.Auth == nil) == (o.Auth == nil) && (r.Auth == nil || *r.Auth == *o.Auth)
	return r.Host == o.Host && sameAuth && slices.Equal(r.Ports, o.Ports) && slices.Equal(r.Private, o.Private)
}

// egress reads the whole block.
func (p *parser) egress(a at) []Route {
	var routes []Route
	p.mapping(a, keys{
		read: map[string]func(at){
			"routes": func(a at) { routes = p.routes(a) },
			"log":    p.logLevel,
		},
		removed: removedKeys(),
	})
	return routes
}

// logLevel accepts bot-bottle's levels. Decisions are always recorded, so
// nothing depends on it; what level 2 would record holds secrets.
func (p *parser) logLevel(a at) {
	if n, ok := p.integer(a, 0, 2); ok && n == 2 {
		p.fail(a, "level 2 is not supported yet by this version (whole requests and responses)", "use 0 or 1; every decision is recorded either way")
	}
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
		lines[r.Host] = item.node.Line + 1
		routes = append(routes, r)
	})
	return routes
}

func (p *parser) route(a at) (Route, bool) {
	var r Route
	before := len(p.problems)
	host := a
	ok := p.mapping(a, keys{
		read: map[string]func(at){
			"host":    func(v at) { host = v; r.Host = p.host(v) },
			"ports":   func(v at) { r.Ports = p.ports(v) },
			"auth":    func(v at) { r.Auth = p.auth(v) },
			"private": func(v at) { r.Private = p.private(v) },
		},
		later: map[string]string{
			"matches": "paths, methods and headers", "git": "git over HTTPS", "dlp": "scanning of requests", "role": "reserved",
		},
		removed: removedKeys(),
	})
	if !ok || len(p.problems) > before {
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
	return r, true
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

func (p *parser) ports(a at) []int {
	var out []int
	p.list(a, maxPorts, func(item at) {
		n, ok := p.integer(item, 1, 65535)
		switch {
		case ok && slices.Contains(out, int(n)):
			p.fail(item, fmt.Sprintf("port %d stands twice", n), "remove one of the two")
		case ok:
			out = append(out, int(n))
		}
	})
	slices.Sort(out)
	return out
}

func (p *parser) auth(a at) *Auth {
	var out Auth
	before := len(p.problems)
	ok := p.mapping(a, keys{read: map[string]func(at){
		"scheme":    func(v at) { out.Scheme = p.scheme(v) },
		"token_ref": func(v at) { out.TokenRef = p.tokenRef(v) },
	}})
	if !ok || len(p.problems) > before {
		return nil
	}
	if out.Scheme == "" || out.TokenRef == "" {
		p.fail(a, "auth needs both scheme and token_ref", `write "scheme: Bearer" and "token_ref: NAME_OF_A_HOST_VARIABLE"`)
		return nil
	}
	return &out
}

func (p *parser) scheme(a at) string {
	s, ok := p.str(a)
	if ok && s != "Bearer" && s != "token" {
		p.fail(a, fmt.Sprintf("%.40q is not a scheme", s), `use "Bearer" or "token"`)
		return ""
	}
	return s
}

// tokenRef never repeats the value: people put the token itself there.
func (p *parser) tokenRef(a at) string {
	s, ok := p.str(a)
	if ok && !ValidEnvName(s) {
		p.fail(a, "it must be the name of a host variable, never the token itself", "write the variable's name without '$'")
		return ""
	}
	return s
}

func (p *parser) private(a at) []string {
	var out []string
	p.list(a, maxPrivate, func(item at) {
		s, ok := p.str(item)
		if !ok {
			return
		}
		if err := checkPrefix(s); err != nil {
			p.fail(item, fmt.Sprintf("%.80q: %v", s, err), `write for example "10.1.0.0/16" or "127.0.0.1"`)
			return
		}
		out = append(out, s)
	})
	return out
}

// CheckHost reports why s is not the host of a route: a lower case name, one
// leading "*." label before at least two others, or a dotted IPv4 address.
func CheckHost(s string) error {
	name, wildcard := strings.CutPrefix(s, "*.")
	switch {
	case name == "" || len(name) > maxHostLen:
		return fmt.Errorf("it must have 1 to %d characters", maxHostLen)
	case name == proxyHost:
		return errors.New("this name is the proxy's own")
	case strings.Contains(name, "*"):
		return errors.New("a wildcard may stand only for the first labels")
	case wildcard && !strings.Contains(name, "."):
		return errors.New("a wildcard needs at least two labels after it")
	}
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	if !numeric(name) {
		return nil
	}
	if _, ok := address(name); !ok || wildcard {
		return errors.New("a host that ends in a number must be an IPv4 address in dotted form")
	}
	return nil
}

func checkLabel(label string) error {
	if label == "" || len(label) > maxLabelLen || label[0] == '-' || label[len(label)-1] == '-' {
		return errors.New("a label is empty, too long, or starts or ends with '-'")
	}
	for _, c := range []byte(label) {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return errors.New("only a-z, 0-9, '-', '_' and '.' are accepted, without scheme, port or path")
		}
	}
	return nil
}

// numeric reports whether some resolver might read host as an IPv4 address.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if digits, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

func address(host string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(host)
	return addr, err == nil && addr.Is4()
}

func checkPrefix(s string) error {
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" || addr.Is4In6() {
			return errors.New("write the plain address, without zone and not IPv4-mapped")
		}
		return nil
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil || prefix.Addr().Is4In6():
		return errors.New("it is neither an address nor a prefix")
	case prefix != prefix.Masked():
		return fmt.Errorf("it has bits set after the prefix; did you mean %s?", prefix.Masked())
	case prefix.Addr().Is4() && prefix.Bits() < minPrefix4, prefix.Addr().Is6() && prefix.Bits() < minPrefix6:
		return errors.New("it is too wide to name a network")
	}
	return nil
}
