package manifest

import (
	"go.yaml.in/yaml/v4"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// dlp reads how a route is scanned; nil when that is the default.
func (p *parser) dlp(a at) *sidecars.DLP {
	var d sidecars.DLP
	inbound := a
	p.mapping(a, keys{read: map[string]func(at){
		"outbound_detectors": func(v at) {
			d.Outbound = p.detectors(v, sidecars.DetectTokenPatterns, sidecars.DetectKnownSecrets, sidecars.DetectEntropy)
		},
		"inbound_detectors": func(v at) { d.Inbound = p.detectors(v, sidecars.DetectInjection) },
		"outbound_on_match": func(v at) {
			d.OnMatch = p.choice(v, sidecars.OnMatchSupervise, sidecars.OnMatchRedact, sidecars.OnMatchBlock)
		},
		"inbound_on_match": func(v at) {
			inbound = v
			d.InboundOnMatch = p.choice(v, sidecars.InboundReport, sidecars.InboundBlock)
		},
	}})
	if d.InboundOnMatch == sidecars.InboundBlock && d.Inbound != nil && len(d.Inbound) == 0 {
		p.fail(inbound, "answers are to be blocked and no detector reads them", "remove inbound_detectors: false, or this key")
	}
	if d.Outbound == nil && d.Inbound == nil && d.OnMatch == "" && d.InboundOnMatch == "" {
		return nil
	}
	return &d
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
