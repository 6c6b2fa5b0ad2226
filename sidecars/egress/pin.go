package egress

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// pinning keeps a host to the credential that the proxy puts on: the agent's own
// account there, or an attacker's, is a way out of the bottle that no allowlist
// sees.
type pinning struct {
	placeholders map[string]bool
}

func newPinning(placeholders []string) *pinning {
	p := &pinning{placeholders: map[string]bool{}}
	for _, text := range placeholders {
		p.placeholders[text] = true
	}
	return p
}

// pin is what a route adds to, or takes from, what counts as a credential.
type pin struct {
	query, allowed, headers map[string]bool
	cookies                 string
}

func newPin(in *sidecars.Pin) pin {
	p := pin{query: map[string]bool{}, allowed: map[string]bool{}, headers: map[string]bool{}}
	if in == nil {
		return p
	}
	p.cookies = in.Cookies
	for _, name := range in.Query {
		p.query[policy.ParameterKey(name)] = true
	}
	for _, name := range in.AllowQuery {
		p.allowed[policy.ParameterKey(name)] = true
	}
	for _, name := range in.Headers {
		p.headers[folded(name)] = true
	}
	return p
}

// parameter reports whether one of that key carries a credential.
func (p *pin) parameter(key string) bool {
	return p.query[key] || isCredentialParameter(key) && !p.allowed[key]
}

// check refuses a request that carries a credential of its own to a route that
// has one. Placeholders are none. It returns the query without them.
func (p *pinning) check(a ask, to *route) (query string, no *refusal) {
	if to.auth == nil {
		return a.query, nil
	}
	for name, values := range a.header {
		if !slices.ContainsFunc(values, func(v string) bool { return !p.isNone(name, v, to.auth) }) {
			continue
		}
		return "", foreign(to, a.to.Host, "the header "+clean(name))
	}
	return p.checkQuery(a, to)
}

// isNone reports whether a header holds no credential.
func (p *pinning) isNone(name, value string, auth *credential) bool {
	switch {
	case name == "Sec-Websocket-Protocol":
		return p.subprotocolsHold(value)
	case name == "Cookie":
		return auth.pin.cookies != sidecars.CookiesRefuse
	case !auth.replaces(name):
		return true
	}
	return p.stands(value) || p.authorizes(value)
}

// stands reports whether a text is nothing or stands for a credential.
func (p *pinning) stands(text string) bool {
	text = strings.Trim(text, " \t")
	return text == "" || p.placeholders[text]
}

// authorizes reports whether "SCHEME CREDENTIAL" holds a placeholder.
func (p *pinning) authorizes(value string) bool {
	scheme, rest, ok := strings.Cut(strings.Trim(value, " \t"), " ")
	if !ok {
		return isScheme(scheme) // as clients send it that have no token
	}
	if !strings.EqualFold(scheme, "Basic") {
		return p.stands(rest)
	}
	plain, err := base64.StdEncoding.DecodeString(strings.Trim(rest, " \t"))
	if err != nil {
		return false
	}
	user, password, _ := strings.Cut(string(plain), ":")
	if user == "" && password == "" {
		return true
	}
	return p.placeholders[password] || p.placeholders[user] && p.stands(strings.TrimPrefix(password, "x-oauth-basic"))
}

func isScheme(word string) bool {
	switch strings.ToLower(word) {
	case "bearer", "token", "basic":
		return true
	}
	return false
}

// subprotocolsHold reports whether no WebSocket subprotocol is a credential:
// browsers can put one nowhere else.
func (p *pinning) subprotocolsHold(value string) bool {
	for word := range strings.SplitSeq(value, ",") {
		if rest, ok := tokenInSubprotocol(strings.Trim(word, " \t")); ok && !p.stands(rest) {
			return false
		}
	}
	return true
}

// tokenInSubprotocol cuts off what marks a subprotocol as a credential.
func tokenInSubprotocol(word string) (token string, ok bool) {
	for _, mark := range []string{"openai-insecure-api-key.", "base64url.bearer.authorization.", "bearer.", "access_token.", "access-token.", "token.", "auth.", "jwt."} {
		if len(word) > len(mark) && strings.EqualFold(word[:len(mark)], mark) {
			return word[len(mark):], true
		}
	}
	return "", false
}

// withoutPlaceholders takes subprotocols out that stand for a credential: the
// server would refuse them.
func (p *pinning) withoutPlaceholders(h http.Header) {
	const name = "Sec-Websocket-Protocol"
	if len(h[name]) == 0 {
		return
	}
	var kept []string
	for _, line := range h[name] { // several lines are one list
		for word := range strings.SplitSeq(line, ",") {
			word = strings.Trim(word, " \t")
			if _, ok := tokenInSubprotocol(word); !ok && word != "" {
				kept = append(kept, word)
			}
		}
	}
	if len(kept) > 0 {
		h[name] = []string{strings.Join(kept, ", ")}
	} else {
		delete(h, name)
	}
}

// checkQuery looks for credentials among the parameters, in every spelling that
// a server might decode to one of the known names.
func (p *pinning) checkQuery(a ask, to *route) (string, *refusal) {
	if a.query == "" {
		return "", nil
	}
	kept, dropped := make([]string, 0, 8), false
	for pair := range strings.FieldsFuncSeq(a.query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		if !to.auth.pin.parameter(policy.ParameterKey(name)) {
			kept = append(kept, pair)
			continue
		}
		plain, err := url.QueryUnescape(value)
		switch {
		case err != nil || !p.stands(plain) && !p.authorizes(plain):
			return "", foreign(to, a.to.Host, "a parameter of the URL")
		case plain == "":
			kept = append(kept, pair)
		default:
			dropped = true
		}
	}
	if !dropped {
		return a.query, nil
	}
	return strings.Join(kept, "&"), nil
}

// isCredentialParameter knows names as policy.ParameterKey writes them.
func isCredentialParameter(key string) bool {
	switch key {
	case "accesstoken", "apikey", "xapikey", "key", "token", "xtoken", "apitoken", "xaccesstoken", "accesskey", "accesskeyid",
		"auth", "authtoken", "authkey", "xauthtoken", "authorization", "bearer", "bearertoken", "oauthtoken", "oauthsignature", "oauthconsumerkey",
		"privatetoken", "jobtoken", "deploytoken", "personalaccesstoken", "usertoken", "sessiontoken", "securitytoken", "refreshtoken", "idtoken", "jwt",
		"clientsecret", "apisecret", "secret", "secretkey", "password", "passwd", "pwd", "pass", "passphrase", "credential", "credentials",
		"sig", "signature", "hmac", "sastoken", "sharedaccesssignature", "awsaccesskeyid", "googleaccessid", "subscriptionkey",
		"xamzsignature", "xamzcredential", "xamzsecuritytoken", "xgoogsignature", "xgoogcredential", "xosssignature", "ossaccesskeyid":
		return true
	}
	return false
}

func foreign(to *route, host, where string) *refusal {
	return &refusal{Status: http.StatusForbidden, Layer: layerPin, Reason: reasonForeign, Rule: to.rule,
		Message: fmt.Sprintf("The request carries a credential of its own in %s; on requests to %s the proxy puts this bottle's, and no other is let through.", where, host),
		Ask:     "Send the request without any credential, or with the placeholder from the environment; the proxy adds the right one."}
}
