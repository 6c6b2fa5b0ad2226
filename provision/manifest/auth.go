package manifest

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// auth reads which credential a route puts in, and how.
func (p *parser) auth(a at) *Auth {
	var out Auth
	ok := p.clean(func() bool {
		return p.mapping(a, keys{read: map[string]func(at){
			"scheme": func(v at) {
				out.Scheme = p.choice(v, sidecars.SchemeBearer, sidecars.SchemeToken, sidecars.SchemeBasic, sidecars.SchemeHeader)
			},
			"header":    func(v at) { out.Header = p.credentialHeader(v) },
			"token_ref": func(v at) { out.TokenRef = p.hostVariable(v) },
			"pin":       func(v at) { out.Pin = p.pin(v) },
		}})
	})
	switch named := out.Scheme == sidecars.SchemeHeader; {
	case !ok:
		return nil
	case out.Scheme == "" || out.TokenRef == "":
		p.fail(a, "auth needs both scheme and token_ref", `write "scheme: Bearer" and "token_ref: NAME_OF_A_HOST_VARIABLE"`)
		return nil
	case named && out.Header == "":
		p.fail(a, `the scheme "header" needs a header`, `write for example "header: X-Api-Key"`)
		return nil
	case !named && out.Header != "":
		p.fail(a, "a header is named, but the scheme "+out.Scheme+" is Authorization's", `write "scheme: header", or remove the header`)
		return nil
	}
	return &out
}

// pin reads what counts as a credential of the agent's own.
func (p *parser) pin(a at) *sidecars.Pin {
	var out sidecars.Pin
	ok := p.clean(func() bool {
		return p.mapping(a, keys{read: map[string]func(at){
			"query":       func(v at) { out.Query = p.parameters(v) },
			"headers":     func(v at) { out.Headers = distinct(p, v, policy.MaxPinned, p.pinnedHeader) },
			"allow_query": func(v at) { out.AllowQuery = p.parameters(v) },
			"cookies": func(v at) {
				out.Cookies = p.choice(v, sidecars.CookiesStrip, sidecars.CookiesRefuse, sidecars.CookiesAllow)
			},
		}})
	})
	if !ok {
		return nil
	}
	return &out
}

func (p *parser) pinnedHeader(a at) (string, bool) {
	name := p.credentialHeader(a)
	return name, name != ""
}

// parameters reads names of parameters of URLs.
func (p *parser) parameters(a at) []string {
	return distinct(p, a, policy.MaxPinned, func(item at) (string, bool) {
		s, ok := p.str(item)
		if !ok {
			return "", false
		}
		if err := policy.CheckParameter(s); err != nil {
			p.fail(item, fmt.Sprintf("%.80q: %v", s, err), `write for example "access_token"`)
			return "", false
		}
		return s, true
	})
}

// credentialHeader reads the name of the header that carries a credential.
func (p *parser) credentialHeader(a at) string {
	s, ok := p.str(a)
	if !ok {
		return ""
	}
	name := http.CanonicalHeaderKey(s)
	if err := policy.CheckAuthHeader(name); err != nil {
		p.fail(a, err.Error(), `write for example "X-Api-Key"`)
		return ""
	}
	return name
}

// ownHeader refuses a match on the header that the proxy itself sets: what the
// agent sends there is taken off.
func (p *parser) ownHeader(a at, r Route) bool {
	if r.Auth == nil || r.Auth.Header == "" {
		return true
	}
	for _, m := range r.Matches {
		for _, h := range m.Headers {
			if strings.EqualFold(h.Name, r.Auth.Header) {
				p.fail(a, "a match looks at the header "+h.Name+", which auth replaces", "take one of the two out")
				return false
			}
		}
	}
	return true
}
