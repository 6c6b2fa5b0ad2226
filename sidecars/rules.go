package sidecars

// Detectors that a route's traffic can be scanned with.
const (
	DetectTokenPatterns = "token_patterns"            // requests: the shapes of vendors' tokens
	DetectKnownSecrets  = "known_secrets"             // requests: every secret that a sidecar holds
	DetectEntropy       = "entropy"                   // requests: what looks random; opt-in, warns only
	DetectInjection     = "naive_injection_detection" // answers: text that tries to instruct a model
)

// What happens to a request in which a detector found something.
const (
	OnMatchSupervise = "supervise"
	OnMatchRedact    = "redact"
	OnMatchBlock     = "block"
)

// What happens to an answer that tries to instruct a model.
const (
	InboundReport = "report" // it is recorded, and passes
	InboundBlock  = "block"  // it is refused, or broken off, when that is near to certain
)

// DLP says how a route's traffic is scanned. The zero value is the default.
type DLP struct {
	// Outbound and Inbound name detectors: nil = the default ones, empty = none.
	Outbound []string `json:"outbound,omitzero"`
	Inbound  []string `json:"inbound,omitzero"`
	// OnMatch is one of the constants above; "" = the default.
	OnMatch string `json:"on_match,omitempty"`
	// InboundOnMatch is InboundReport or InboundBlock; "" = the former.
	InboundOnMatch string `json:"inbound_on_match,omitempty"`
}

// DefaultOutbound lists the detectors that scan requests when none are named.
func DefaultOutbound() []string { return []string{DetectTokenPatterns, DetectKnownSecrets} }

// DefaultInbound lists the detectors that scan answers when none are named.
func DefaultInbound() []string { return []string{DetectInjection} }

// Budget bounds what a bottle may use of a route in its life. Zero fields are no
// bound.
type Budget struct {
	Requests int64 `json:"requests,omitempty"`
	// BytesOut and BytesIn count bodies, to the server and back.
	BytesOut int64 `json:"bytes_out,omitempty"`
	BytesIn  int64 `json:"bytes_in,omitempty"`
	// PerMinute is how many requests may begin within a minute.
	PerMinute int `json:"per_minute,omitempty"`
}

// ResponseRules bound what a route may answer. Zero fields are no bound.
type ResponseRules struct {
	MaxBytes int64 `json:"max_bytes,omitempty"` // of one answer's body
	// Types are media types in lower case without parameters, such as
	// "application/json" or "text/*".
	Types []string `json:"types,omitempty"`
}
