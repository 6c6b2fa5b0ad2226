package sidecars

import (
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// Service names a sidecar daemon. The names are those of
// BOT_BOTTLE_SIDECAR_DAEMONS.
type Service string

// The daemons and the TCP ports the agent reaches them on. The numbers are
// bot-bottle's, so that its users' configuration keeps working.
const (
	Egress    Service = "egress"
	Supervise Service = "supervise"
	GitGate   Service = "git-gate"
	// Bottles leads to the MCP server that launched this bottle, for a bottle
	// that may launch others.
	Bottles Service = "bottles"

	EgressPort    = 9099
	SupervisePort = 9100
	BottlesPort   = 9101
	GitGatePort   = 9418
	GitHTTPPort   = 9420
)

// Port is where the guest reaches a daemon, of GitGate the smart HTTP one; 0 =
// the daemon is not known.
func (s Service) Port() int {
	switch s {
	case Egress:
		return EgressPort
	case Supervise:
		return SupervisePort
	case GitGate:
		return GitHTTPPort
	case Bottles:
		return BottlesPort
	}
	return 0
}

// DaemonsEnv is the variable that tells a sidecar which daemons to run: a
// comma-separated list of Service names; unset means all of them.
const DaemonsEnv = "BOT_BOTTLE_SIDECAR_DAEMONS"

// What a sidecar that is a machine of its own finds below its configuration
// directory. Directories are 0700, files 0600; everything is mounted from the
// host and only the log directory is writable.
const (
	// ConfigFile is a Config without its CACert.
	ConfigFile = "routes.json"
	// CADir holds the bottle's CA: CACertFile and CAKeyFile (PEM).
	CADir      = "ca"
	CACertFile = "ca.pem"
	CAKeyFile  = "ca.key"
	// TokensDir holds one file per slot, named like it, and BottlesTokenFile.
	TokensDir        = "tokens"
	BottlesTokenFile = "BOTTLES_TOKEN"
	// RootsFile, when it is there, holds the CAs that upstreams are verified
	// with (PEM).
	RootsFile = "roots.pem"
	// LogDir holds EgressLog and the daemons' own output, ErrorLog.
	LogDir    = "log"
	EgressLog = "egress.jsonl"
	ErrorLog  = "sidecar.log"
)

// Config is everything a sidecar may know that is not secret. It is handed
// over as JSON; unknown keys are refused.
type Config struct {
	// Bottle is the id of the bottle served, for logs and refusals.
	Bottle string `json:"bottle"`
	// Routes is the whole egress policy. Empty means that nothing is allowed.
	Routes []Route `json:"routes"`
	// CACert is the bottle's certificate authority, PEM.
	CACert string `json:"ca_cert"`
	// Placeholders are texts in the guest that stand for a credential: programs
	// that demand one have them, and the proxy takes them for none. They are not
	// secret.
	Placeholders []string `json:"placeholders,omitempty"`
	// Ledger says how decisions are recorded.
	Ledger LedgerPolicy `json:"ledger,omitzero"`
}

// Values of LedgerPolicy.
const (
	// OnFullRefuse lets nothing out while the ledger cannot be written.
	OnFullRefuse = "refuse"
	// OnFullContinue lets requests out, drops the oldest file of a ledger that
	// is full, and notes later how many decisions were lost.
	OnFullContinue = "continue"

	// SyncBatch has lines on the disk within a second, and refusals sooner.
	SyncBatch = "batch"
	// SyncAlways has every line on the disk before the next is written.
	SyncAlways = "always"
	// SyncNever leaves it to the system.
	SyncNever = "never"
)

// LedgerPolicy is how decisions are recorded. Zero fields mean the first value
// of each kind.
type LedgerPolicy struct {
	OnFull string `json:"on_full,omitempty"`
	Sync   string `json:"sync,omitempty"`
}

// Route allows one host (exact name, or one leading "*." label).
type Route struct {
	// Host is lower case ASCII without a trailing dot.
	Host string `json:"host"`
	// Ports that may be dialled; empty means 443 for https and 80 for http.
	Ports []int `json:"ports,omitempty"`
	// Auth, when set, is injected; the agent's own credential is stripped.
	Auth *Auth `json:"auth,omitempty"`
	// Private lists the private addresses or CIDR prefixes ("10.0.0.0/8",
	// "127.0.0.1") this host may resolve to. Empty means public addresses only.
	Private []string `json:"private,omitempty"`
	// Matches narrow the route: a request must satisfy one of them. Empty means
	// every request to the host.
	Matches []Match `json:"matches,omitempty"`
	// GitFetch allows fetching and cloning with git over HTTPS. Pushing is never
	// allowed.
	GitFetch bool `json:"git_fetch,omitempty"`
	// DLP says how traffic is scanned; nil is the default.
	DLP *DLP `json:"dlp,omitempty"`
	// Budget and Response bound use and answers; nil is no bound.
	Budget   *Budget        `json:"budget,omitempty"`
	Response *ResponseRules `json:"response,omitempty"`
}

// Match is one way to satisfy a route, with the semantics of the Gateway API's
// HTTPRouteMatch: every part that is given must hold, and of a part's entries
// one (paths, methods) or all (headers).
type Match struct {
	Paths   []PathMatch   `json:"paths,omitempty"`
	Methods []string      `json:"methods,omitempty"` // upper case
	Headers []HeaderMatch `json:"headers,omitempty"`
}

// Types of PathMatch and HeaderMatch.
const (
	MatchExact  = "exact"
	MatchPrefix = "prefix" // paths only: whole segments, so "/a" matches "/a" and "/a/b", not "/ab"
	MatchRegex  = "regex"  // RE2, anchored at both ends
)

// PathMatch is a rule for a request's normalised path.
type PathMatch struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// HeaderMatch is a rule for one header's value; names compare without case.
type HeaderMatch struct {
	Name  string `json:"name"`
	Type  string `json:"type,omitempty"` // MatchExact (default) or MatchRegex
	Value string `json:"value"`
}

// Schemes of an Auth.
const (
	SchemeBearer = "Bearer"
	SchemeToken  = "token"
	// SchemeBasic takes "user:password", not encoded; a token without ":" is the
	// password of the user BasicUser.
	SchemeBasic  = "Basic"
	SchemeHeader = "header" // the token is the whole value of Auth.Header
)

// BasicUser is the user name of a token that has none: what code hosts expect
// beside an access token.
const BasicUser = "x-access-token"

// Auth says how a credential is put on the wire: "Authorization: <Scheme>
// <token>", or for SchemeHeader "<Header>: <token>"; the token is taken from
// Slot.
type Auth struct {
	Scheme string `json:"scheme"`
	// Header is the canonical name of the header, for SchemeHeader alone.
	Header string `json:"header,omitempty"`
	Slot   string `json:"slot"` // key of Secrets.Tokens, e.g. "EGRESS_TOKEN_0"
	// Pin is nil for the usual.
	Pin *Pin `json:"pin,omitempty"`
}

// What happens to cookies on a route with Auth.
const (
	CookiesStrip  = "strip"  // they are left out
	CookiesRefuse = "refuse" // a request with one is refused
	CookiesAllow  = "allow"  // they travel, also those of another account
)

// Pin says what counts as a credential of the agent's own on a route with Auth,
// where that differs from what is known of the usual ones.
type Pin struct {
	// Query and Headers name further parameters of URLs and headers that carry
	// one; AllowQuery names parameters that carry none at this host.
	Query      []string `json:"query,omitempty"`
	Headers    []string `json:"headers,omitempty"`
	AllowQuery []string `json:"allow_query,omitempty"`
	// Cookies is one of the constants above; "" = CookiesStrip.
	Cookies string `json:"cookies,omitempty"`
}

// Secrets reach the daemon that needs them through a pipe and nothing else.
type Secrets struct {
	CAKey  secret.Value            // PEM, PKCS#8
	Tokens map[string]secret.Value // by slot
	// BottlesToken is what the MCP server knows this bottle by. The guest never
	// has it: Bottles puts it on each request.
	BottlesToken secret.Value
	// Known are secrets beside the tokens that must not leave the bottle, such as
	// those that its manifest puts into the guest.
	Known []Named
	// Canaries are values in the guest that nobody has a right use for.
	Canaries []Named
}

// Named is a secret and what it is called in answers and logs.
type Named struct {
	Name  string
	Value secret.Value
}

// What the bottles daemon asks of the host's MCP server.
const (
	// BottlesPath is the one path, on both sides.
	BottlesPath = "/mcp"
	// BottlesHost is the Host of every request to the host's server. No resolver
	// knows it.
	BottlesHost = "bottles.internal"
)

// Verdicts of a Decision.
const (
	Allow = "allow"
	Deny  = "deny"
)

// Decision is one line of the egress log (JSON lines): what was asked and what
// was decided. It never holds a header value, a query string, a body or a
// secret.
type Decision struct {
	Time    time.Time `json:"time"`
	Bottle  string    `json:"bottle"`
	Service Service   `json:"service"`
	Verdict string    `json:"verdict"`           // Allow or Deny
	Layer   string    `json:"layer,omitempty"`   // "parse", "host", "identity", "address", "upstream", …
	Reason  string    `json:"reason,omitempty"`  // stable code, e.g. "host_not_allowed"
	Message string    `json:"message,omitempty"` // one sentence for people
	Rule    string    `json:"rule,omitempty"`    // the route that decided, "" when none did
	Method  string    `json:"method,omitempty"`
	Scheme  string    `json:"scheme,omitempty"`
	Host    string    `json:"host,omitempty"`
	Port    int       `json:"port,omitempty"`
	Path    string    `json:"path,omitempty"` // without query
	Status  int       `json:"status,omitempty"`
	// BytesOut and BytesIn count body bytes to and from upstream.
	BytesOut int64         `json:"bytes_out,omitempty"`
	BytesIn  int64         `json:"bytes_in,omitempty"`
	Duration time.Duration `json:"duration_ns,omitempty"`
	// Exchange names a long exchange, whose begin was recorded before.
	Exchange string `json:"exchange,omitempty"`
}
