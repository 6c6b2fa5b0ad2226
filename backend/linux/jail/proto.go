package jail

import "github.com/bottle-mcp/bottle-mcp/sidecars"

// Start is the first frame the shim sends; one of bytes follows it, by
// EncodeSecrets. With it come descriptors: the listeners in the order of Services,
// the egress log, a log for what goes wrong, and, when sidecars.Bottles is among
// the services, a socket on which Dial frames are answered. The answer is a Done
// frame.
type Start struct {
	Services []sidecars.Service `json:"services"`
	Config   sidecars.Config    `json:"config"`
}

// Dial asks the shim for a connection to the host's MCP server. It says nothing:
// where that is, the shim alone knows. The answer is a Done frame, with the
// connection's descriptor when it has no error. Nothing of the host's file
// system is in the jail for that, and one that was started ahead of its bottle
// can be given the way like any other.
type Dial struct{}

// Reload is a frame that the shim may send any number of times after Start:
// another policy. One of bytes follows it, with the secrets that are new to it.
// The answer is a Done frame; one with an error says that nothing has changed.
type Reload struct {
	Config sidecars.Config `json:"config"`
}

// Done answers Start and Reload.
type Done struct {
	Error string `json:"error,omitempty"`
}
