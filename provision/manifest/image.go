package manifest

import (
	"fmt"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

const maxReference = 512

// AgentProvider says which agent is set up in the bottle. Whether there is one
// of that name, and what it can do, is known to provision.
type AgentProvider struct {
	// Template is the name of a provider; "" = none.
	Template string
	// AuthToken names the host variable with the credential for the provider's
	// own host, which only the egress proxy gets.
	AuthToken string
	// ForwardHostCredentials uses the host's own login instead.
	ForwardHostCredentials bool
}

// Keys that exclude each other, so that a child which gives one replaces the
// parent's other.
var (
	imageKeys = []string{"image", "agent_provider.dockerfile"}
	loginKeys = []string{"agent_provider.auth_token", "agent_provider.forward_host_credentials"}
)

// image reads the name of an OCI image. An engine is told it behind the end of
// its options, but nobody names an image with a dash or a blank.
func (p *parser) image(a at) string {
	s, ok := p.str(a)
	if !ok {
		return ""
	}
	odd := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'\$`, r) }
	if len(s) > maxReference || s[0] == '-' || strings.ContainsFunc(s, odd) {
		p.fail(a, fmt.Sprintf("%.80q is not the name of an image", s), `write for example "docker.io/library/debian:stable-slim"`)
		return ""
	}
	return s
}

func (p *parser) provider(a at, b *Bottle) {
	into := &b.Provider
	p.mapping(a, keys{read: map[string]func(at){
		"template":                 func(a at) { into.Template = p.name(a) },
		"dockerfile":               func(a at) { b.Image.Dockerfile = p.path(a) },
		"auth_token":               func(a at) { into.AuthToken = p.hostVariable(a) },
		"forward_host_credentials": func(a at) { into.ForwardHostCredentials = p.boolean(a) },
	}})
	if into.AuthToken != "" && into.ForwardHostCredentials {
		p.fail(a, "auth_token and forward_host_credentials both say which login is used", "keep one of them")
	}
}

// oneImage refuses a bottle that says twice what it is made from.
func (p *parser) oneImage(root at, s backend.ImageSpec) {
	if s.Reference != "" && s.Dockerfile != "" {
		p.fail(root, "image and agent_provider.dockerfile both say what the guest is made from", "keep one of them")
	}
}
