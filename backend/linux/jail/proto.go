package jail

import (
	"slices"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// Start is the one frame the shim sends. With it come descriptors: the
// listeners in the order of Services, the egress log, a log for what goes
// wrong, and, when sidecars.Bottles is among the services, a socket on which Dial
// frames are answered. The answer is a Done frame.
type Start struct {
	Services []sidecars.Service `json:"services"`
	Config   sidecars.Config    `json:"config"`
	Secrets  PlainSecrets       `json:"secrets"`
}

// PlainSecrets is sidecars.Secrets on the wire between the server, the shim
// and the sidecar: sockets without a name, nothing else. It must never be
// logged or stored.
type PlainSecrets struct {
	CAKey  []byte            `json:"ca_key"`
	Tokens map[string][]byte `json:"tokens"`
	// BottlesToken is empty where nothing leads to the host's MCP server.
	BottlesToken []byte       `json:"bottles_token,omitempty"`
	Known        []PlainNamed `json:"known,omitempty"`
	Canaries     []PlainNamed `json:"canaries,omitempty"`
}

// PlainNamed is sidecars.Named on the wire.
type PlainNamed struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

func plainNamed(all []sidecars.Named) []PlainNamed {
	var out []PlainNamed
	for _, n := range all {
		out = append(out, PlainNamed{n.Name, []byte(n.Value.Reveal())})
	}
	return out
}

func sealedNamed(all []PlainNamed) []sidecars.Named {
	var out []sidecars.Named
	for _, n := range all {
		out = append(out, sidecars.Named{Name: n.Name, Value: secret.New(string(n.Value))})
	}
	return out
}

// Plain reveals s for the wire.
func Plain(s sidecars.Secrets) PlainSecrets {
	p := PlainSecrets{CAKey: []byte(s.CAKey.Reveal()), Tokens: map[string][]byte{}, BottlesToken: []byte(s.BottlesToken.Reveal())}
	p.Known, p.Canaries = plainNamed(s.Known), plainNamed(s.Canaries)
	for slot, v := range s.Tokens {
		p.Tokens[slot] = []byte(v.Reveal())
	}
	return p
}

// Forget overwrites the secrets: whoever passes them on has no use for them.
func (p *PlainSecrets) Forget() {
	clear(p.CAKey)
	clear(p.BottlesToken)
	for _, token := range p.Tokens {
		clear(token)
	}
	for _, n := range slices.Concat(p.Known, p.Canaries) {
		clear(n.Value)
	}
	*p = PlainSecrets{}
}

// Sealed is the reverse of Plain.
func (p *PlainSecrets) Sealed() sidecars.Secrets {
	s := sidecars.Secrets{CAKey: secret.New(string(p.CAKey)), Tokens: map[string]secret.Value{}}
	s.Known, s.Canaries = sealedNamed(p.Known), sealedNamed(p.Canaries)
	for slot, v := range p.Tokens {
		s.Tokens[slot] = secret.New(string(v))
	}
	if len(p.BottlesToken) > 0 {
		s.BottlesToken = secret.New(string(p.BottlesToken))
	}
	return s
}

// Dial asks the shim for a connection to the host's MCP server. It says nothing:
// where that is, the shim alone knows. The answer is a Done frame, with the
// connection's descriptor when it has no error. Nothing of the host's file
// system is in the jail for that, and one that was started ahead of its bottle
// can be given the way like any other.
type Dial struct{}

// Reload is a frame that the shim may send any number of times after Start:
// another policy, and the tokens that are new to it. The answer is a Done frame;
// one with an error says that nothing has changed.
type Reload struct {
	Config  sidecars.Config `json:"config"`
	Secrets PlainSecrets    `json:"secrets"`
}

// Done answers Start and Reload.
type Done struct {
	Error string `json:"error,omitempty"`
}
