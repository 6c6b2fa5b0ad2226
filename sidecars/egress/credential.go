package egress

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const authorization = "Authorization"

// credential is what a route puts on a request: one header.
type credential struct {
	name  string       // of the header, canonical
	value secret.Value // of the header, whole
	token secret.Value // as it was handed over
	pin   pin
}

// put puts the credential on a request that is about to leave.
func (c *credential) put(h http.Header) { h[c.name] = []string{c.value.Reveal()} }

// replaces reports whether a header of the agent's has no place beside the
// credential.
func (c *credential) replaces(name string) bool {
	return c != nil && (policy.CarriesCredential(name) || sameHeader(name, c.name) || len(c.pin.headers) > 0 && c.pin.headers[folded(name)])
}

// equal compares what is put on a request; nil is nothing.
func (c *credential) equal(o *credential) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.name == o.name && c.value.Reveal() == o.value.Reveal() && reflect.DeepEqual(c.pin, o.pin)
}

// sameHeader compares as folded does, and needs no memory for it.
func sameHeader(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if policy.FoldHeaderByte(a[i]) != policy.FoldHeaderByte(b[i]) {
			return false
		}
	}
	return true
}

// folded is a header's name as servers compare it that do not tell "_" from "-".
func folded(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

func newCredential(in *sidecars.Auth, tokens map[string]secret.Value) (*credential, error) {
	if in == nil {
		return nil, nil
	}
	token, err := tokenOf(in.Slot, tokens)
	if err != nil {
		return nil, err
	}
	c := &credential{name: authorization, token: token, pin: newPin(in.Pin)}
	plain := token.Reveal()
	switch in.Scheme {
	case sidecars.SchemeBearer, sidecars.SchemeToken:
		c.value = secret.New(in.Scheme + " " + plain)
	case sidecars.SchemeBasic:
		if !strings.Contains(plain, ":") {
			plain = sidecars.BasicUser + ":" + plain
		}
		c.value = secret.New("Basic " + base64.StdEncoding.EncodeToString([]byte(plain)))
	case sidecars.SchemeHeader:
		if err := policy.CheckAuthHeader(in.Header); err != nil {
			return nil, fmt.Errorf("auth header %.80q: %w", in.Header, err)
		}
		c.name, c.value = in.Header, token
	default:
		return nil, fmt.Errorf("auth scheme %.40q is not known; use %q, %q, %q or %q", in.Scheme,
			sidecars.SchemeBearer, sidecars.SchemeToken, sidecars.SchemeBasic, sidecars.SchemeHeader)
	}
	if in.Header != "" && in.Scheme != sidecars.SchemeHeader {
		return nil, fmt.Errorf("auth scheme %q has a header of its own; leave %.80q out", in.Scheme, in.Header)
	}
	return c, nil
}

func tokenOf(slot string, tokens map[string]secret.Value) (secret.Value, error) {
	token, ok := tokens[slot]
	if !ok || token.Empty() {
		return token, fmt.Errorf("auth slot %.80q holds no token; hand over one for it", slot)
	}
	for _, c := range []byte(token.Reveal()) {
		if c <= ' ' || c > '~' {
			return token, fmt.Errorf("the token in auth slot %.80q holds a blank, a control or a non-ASCII character; hand over the bare token", slot)
		}
	}
	return token, nil
}
