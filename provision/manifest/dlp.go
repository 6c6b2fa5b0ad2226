package manifest

import (
	"go.yaml.in/yaml/v4"
)

// What a route's traffic can be scanned for, and what happens on a match.
const (
	TokenPatterns      = "token_patterns"
	KnownSecrets       = "known_secrets"
	Entropy            = "entropy" // opt-in, warns only
	InjectionDetection = "naive_injection_detection"

	OnMatchSupervise = "supervise"
	OnMatchRedact    = "redact"
	OnMatchBlock     = "block"
)

// DLP says how a route's traffic is scanned. The zero value is the default: all
// detectors but those that are opt-in.
type DLP struct {
	// Outbound and Inbound name detectors: nil = the default ones, empty = none.
	Outbound []string
	Inbound  []string
	// OnMatch is what happens to a request that holds a secret; "" = the default.
	OnMatch string
}

// IsDefault reports whether nothing was chosen.
func (d DLP) IsDefault() bool { return d.Outbound == nil && d.Inbound == nil && d.OnMatch == "" }

func (p *parser) dlp(a at) DLP {
	var d DLP
	p.mapping(a, keys{read: map[string]func(at){
		"outbound_detectors": func(v at) { d.Outbound = p.detectors(v, TokenPatterns, KnownSecrets, Entropy) },
		"inbound_detectors":  func(v at) { d.Inbound = p.detectors(v, InjectionDetection) },
		"outbound_on_match":  func(v at) { d.OnMatch = p.choice(v, OnMatchSupervise, OnMatchRedact, OnMatchBlock) },
	}})
	return d
}

// detectors reads a list of names, or false for none.
func (p *parser) detectors(a at, allowed ...string) []string {
	if a.node.Kind == yaml.ScalarNode && a.node.ShortTag() == "!!bool" {
		if p.boolean(a) {
			p.fail(a, "it must be a list of detectors, or false for none", "remove the key for the default ones")
		}
		return []string{}
	}
	if a.node.Kind != yaml.SequenceNode {
		p.wrongType(a, "a list of detectors, or false for none")
		return nil
	}
	if len(a.node.Content) == 0 {
		p.fail(a, "it must not be empty", "write false for no detector, or remove the key for the default ones")
		return nil
	}
	return distinct(p, a, len(allowed), func(item at) (string, bool) {
		s := p.choice(item, allowed...)
		return s, s != ""
	})
}
