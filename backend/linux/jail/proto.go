package jail

import (
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// Start is the one frame the shim sends. With it come descriptors: the
// listeners in the order of Services, the egress log, and a log for what goes
// wrong. The answer is a Done frame.
type Start struct {
	Services []sidecars.Service `json:"services"`
	Config   sidecars.Config    `json:"config"`
	Secrets  PlainSecrets       `json:"secrets"`
}

// PlainSecrets is sidecars.Secrets on the wire between the server, the shim
// and the sidecar: sockets without a name, nothing else. It must never be
// logged or stored.
type PlainSecrets struct {
	CAKey  string            `json:"ca_key"`
	Tokens map[string]string `json:"tokens"`
}

// Plain reveals s for the wire.
func Plain(s sidecars.Secrets) PlainSecrets {
	p := PlainSecrets{CAKey: s.CAKey.Reveal(), Tokens: map[string]string{}}
	for slot, v := range s.Tokens {
		p.Tokens[slot] = v.Reveal()
	}
	return p
}

// Sealed is the reverse of Plain.
func (p PlainSecrets) Sealed() sidecars.Secrets {
	s := sidecars.Secrets{CAKey: secret.New(p.CAKey), Tokens: map[string]secret.Value{}}
	for slot, v := range p.Tokens {
		s.Tokens[slot] = secret.New(v)
	}
	return s
}

// Done answers Start.
type Done struct {
	Error string `json:"error,omitempty"`
}
