package pid1

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"reflect"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/bottles"
	"github.com/bottle-mcp/bottle-mcp/sidecars/egress"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// settings are what a sidecar was told. A value is never changed: a reload
// makes a new one.
type settings struct {
	config  sidecars.Config
	secrets sidecars.Secrets
	digest  string // of the file that config was read from
	// roots are PEM; nil means those of the image.
	roots []byte
}

// validate does what egress and the daemons will do with the settings, without
// serving.
func (s *settings) validate(daemons []sidecars.Service) error {
	pool, err := rootPool(s.roots)
	if err != nil {
		return err
	}
	if _, err = egress.New(s.config, s.secrets, egress.Options{Log: io.Discard, RootCAs: pool}); err != nil {
		return err
	}
	if slices.Contains(daemons, sidecars.Bottles) {
		_, err = bottles.New(s.config, s.secrets, bottles.Options{Dial: dialHost})
	}
	return err
}

// dialHost reaches the host's MCP server.
func dialHost(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", HostSocket)
}

// rootPool is nil for the image's own roots.
func rootPool(pem []byte) (*x509.CertPool, error) {
	if pem == nil {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate; put the CAs of upstreams there or remove it", sidecars.RootsFile)
	}
	return pool, nil
}

// trustsNobody reports whether no upstream's certificate can be verified.
func (s *settings) trustsNobody() bool {
	if s.roots != nil {
		return false
	}
	pool, err := x509.SystemCertPool()
	return err != nil || pool.Equal(x509.NewCertPool())
}

// after is what the settings become when next was read while a sidecar ran on
// s: the host has removed the secrets by then, so what is not there any more
// stays as it is. The CA is the bottle's for life, since the guest trusts it.
func (s *settings) after(next *settings) (*settings, error) {
	if next.config.Bottle != s.config.Bottle {
		return nil, fmt.Errorf("it is for bottle %.80q and this is the sidecar of %s; a sidecar serves one bottle for its life", next.config.Bottle, s.config.Bottle)
	}
	merged := *next
	merged.config.CACert = s.config.CACert
	tokens := map[string]secret.Value{}
	maps.Copy(tokens, s.secrets.Tokens)
	maps.Copy(tokens, next.secrets.Tokens)
	merged.secrets = sidecars.Secrets{CAKey: s.secrets.CAKey, Tokens: tokens, BottlesToken: next.secrets.BottlesToken,
		Known: next.secrets.Known, Canaries: next.secrets.Canaries}
	if merged.secrets.Known == nil {
		merged.secrets.Known = s.secrets.Known
	}
	merged.secrets.Known = append(slices.Clone(merged.secrets.Known), s.replaced(tokens)...)
	if merged.secrets.Canaries == nil {
		merged.secrets.Canaries = s.secrets.Canaries
	}
	if merged.secrets.BottlesToken.Empty() {
		merged.secrets.BottlesToken = s.secrets.BottlesToken
	}
	if merged.roots == nil {
		merged.roots = s.roots
	}
	return &merged, nil
}

// replaced are the tokens in whose slot another one will be: they stay secrets, also
// for a daemon that starts later.
func (s *settings) replaced(next map[string]secret.Value) []sidecars.Named {
	var out []sidecars.Named
	for _, slot := range slices.Sorted(maps.Keys(s.secrets.Tokens)) {
		if old := s.secrets.Tokens[slot]; !old.Empty() && old.Reveal() != next[slot].Reveal() {
			out = append(out, sidecars.Named{Name: fmt.Sprintf("%s before change %d", slot, len(s.secrets.Known)+len(out)+1), Value: old})
		}
	}
	return out
}

// unused are the tokens that no route injects. The scan has to know them all the
// same.
func (s *settings) unused() []sidecars.Named {
	used := s.usedTokens()
	var out []sidecars.Named
	for _, slot := range slices.Sorted(maps.Keys(s.secrets.Tokens)) {
		if _, ok := used[slot]; !ok {
			out = append(out, sidecars.Named{Name: slot, Value: s.secrets.Tokens[slot]})
		}
	}
	return out
}

// widens reports whether whatever s allows is allowed by next in the same way,
// so that a request that began under s may end under it.
func (s *settings) widens(next *settings) bool {
	if !bytes.Equal(s.roots, next.roots) {
		return false
	}
	for _, route := range s.config.Routes {
		if !slices.ContainsFunc(next.config.Routes, func(r sidecars.Route) bool { return reflect.DeepEqual(r, route) }) {
			return false
		}
		if a := route.Auth; a != nil && s.secrets.Tokens[a.Slot].Reveal() != next.secrets.Tokens[a.Slot].Reveal() {
			return false
		}
	}
	return true
}

// same reports whether a daemon has no use for next: what it knows stays as it is.
// Egress is always told, which is how a reload is seen to work.
func (s *settings) same(daemon sidecars.Service, next *settings) bool {
	return daemon == sidecars.Bottles && s.secrets.BottlesToken.Reveal() == next.secrets.BottlesToken.Reveal()
}

// usedTokens are those that a route injects.
func (s *settings) usedTokens() map[string]secret.Value {
	used := map[string]secret.Value{}
	for _, route := range s.config.Routes {
		if route.Auth == nil {
			continue
		}
		if token, ok := s.secrets.Tokens[route.Auth.Slot]; ok {
			used[route.Auth.Slot] = token
		}
	}
	return used
}

// errNoCA is what is missing from a directory that was never written in full,
// or whose secrets the host has removed already.
var errNoCA = errors.New("the sidecar's first start needs the CA's certificate and key; write the directory again and start a new sidecar")
