package dlp

import "github.com/bottle-mcp/bottle-mcp/sidecars"

// The detectors, by the names that manifests use for them.
const (
	TokenPatterns      = sidecars.DetectTokenPatterns
	KnownSecrets       = sidecars.DetectKnownSecrets
	Entropy            = sidecars.DetectEntropy // opt-in, only ever warns
	InjectionDetection = sidecars.DetectInjection

	// Canary finds the bottle's canaries. It is on wherever any detector of
	// requests is.
	Canary = "canary"
	// Unscannable is the detector of findings that say: something here could not
	// be looked at within bounds.
	Unscannable = "unscannable"
)

// Level says how much a finding weighs.
type Level uint8

// Levels, in order of weight.
const (
	// Warn is for the record only: a match that is more often wrong than right.
	Warn Level = iota
	// Act is what the route's rule for matches applies to.
	Act
	// Block is never passed, held or redacted: a canary has no right use.
	Block
)

// String implements fmt.Stringer.
func (l Level) String() string {
	switch l {
	case Warn:
		return "warn"
	case Act:
		return "act"
	}
	return "block"
}

// Field names the place a text was found in: one of the constants, or
// HeaderField of a name.
type Field string

// Places in a request or an answer.
const (
	Host       Field = "host"
	Path       Field = "path"
	Query      Field = "query"
	HeaderName Field = "header name"
	Body       Field = "body"
	Trailer    Field = "trailer"
	Message    Field = "message" // of a WebSocket
)

// HeaderField is the value of a header.
func HeaderField(name string) Field { return Field("header " + name) }

// Finding is one thing found. It never holds the text that was found.
type Finding struct {
	Detector string // TokenPatterns, KnownSecrets, …
	Kind     string // the rule, as "github_pat"; the form, for a known secret
	Name     string // of the known secret or canary
	Field    Field
	// Via says how it was encoded, outermost first, as "base64>gzip".
	Via string
	// Start and End are offsets in the text given to the scanner. What was found
	// in something encoded has the bounds of the encoded text as far as it was
	// read.
	Start, End int64
	Level      Level
	// Score is that of an injection.
	Score int
}
