package egress

import (
	"net/http"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// Layers say which part of the proxy decided.
const (
	layerParse    = "parse" // the request itself is malformed or ambiguous
	layerHost     = policy.LayerHost
	layerIdentity = "identity" // the names of one request differ
	layerProtocol = policy.LayerProtocol
	layerAddress  = "address"  // what the name resolves to
	layerPin      = "pin"      // a credential of the agent's own where the proxy puts one
	layerDLP      = "dlp"      // a secret in what the agent sends
	layerBudget   = "budget"   // a bound of what a route may be used for
	layerResponse = "response" // what the server answers
	layerUpstream = "upstream" // the server beyond
	layerProxy    = "proxy"    // the proxy's own limits
	layerLedger   = ledger.LayerLedger
)

// Reasons are stable codes: scripts and models branch on them.
const (
	reasonHead            = "head_malformed"
	reasonHeadTooLarge    = "head_too_large"
	reasonLength          = "length_ambiguous"
	reasonBody            = "body_malformed"
	reasonTarget          = "target_invalid"
	reasonHostInvalid     = "host_invalid"
	reasonPortInvalid     = "port_invalid"
	reasonNotProxy        = "not_a_proxy_request"
	reasonScheme          = "scheme_not_supported"
	reasonHostNotAllowed  = policy.ReasonHostNotAllowed
	reasonPortNotAllowed  = policy.ReasonPortNotAllowed
	reasonIPLiteral       = policy.ReasonIPLiteral
	reasonPlainHTTP       = policy.ReasonPlainHTTP
	reasonHostMismatch    = "host_mismatch"
	reasonSNIMissing      = "sni_missing"
	reasonSNIMismatch     = "sni_mismatch"
	reasonPlaintext       = "plaintext_in_tunnel"
	reasonClientTLS       = "client_tls_failed"
	reasonClientTimeout   = "client_handshake_timeout"
	reasonMethod          = policy.ReasonMethod
	reasonConnectInside   = policy.ReasonConnectInside
	reasonUpgrade         = policy.ReasonUpgrade
	reasonGitPush         = policy.ReasonGitPush
	reasonAddress         = "address_not_public"
	reasonResolve         = "name_not_resolved"
	reasonUpstreamTLS     = "upstream_tls_failed"
	reasonUpstreamCert    = "upstream_certificate_invalid"
	reasonClientCert      = "client_certificate_required"
	reasonUpstreamDown    = "upstream_unreachable"
	reasonUpstreamTimeout = "upstream_timeout"
	reasonUpstreamFailed  = "upstream_failed"
	reasonUpstreamAbort   = "upstream_aborted"
	reasonClientGone      = "client_gone"
	reasonIdle            = "idle_timeout"
	reasonTooMany         = "too_many_connections"
	reasonAudit           = ledger.ReasonLost
	reasonInternal        = "internal_error"
	reasonStopping        = "proxy_stopping"
	reasonRevoked         = "route_revoked"
	reasonForeign         = "foreign_credential"
	reasonBudgetRequests  = "budget_requests"
	reasonBudgetOut       = "budget_bytes_out"
	reasonBudgetIn        = "budget_bytes_in"
	reasonRateLimited     = "rate_limited"
	reasonLabelBudget     = "label_budget"
	reasonResponseType    = "response_type"
	reasonEchoed          = "secret_echoed"
	reasonUnreadable      = "coding_unreadable"
	reasonBomb            = "decompression_bomb"
	reasonResponseSize    = "response_too_large"
	reasonSecretHost      = "secret_in_host"
	reasonSecretPath      = "secret_in_path"
	reasonSecretQuery     = "secret_in_query"
	reasonSecretHeader    = "secret_in_header"
	reasonSecretBody      = "secret_in_body"
	reasonSecretTrailer   = "secret_in_trailer"
	reasonSecretMessage   = "secret_in_message"
	reasonFrame           = "frame_malformed"
	reasonExtension       = "extension_not_allowed"
	reasonCanary          = "canary"
	reasonUnscannable     = "not_scannable"
	reasonEncoding        = "encoding_not_scannable"
	reasonLineEnd         = "line_end_injection"
	reasonInjection       = "injection_suspected" // in an answer; it is passed
	reasonInjected        = "injection_blocked"   // in an answer; it is not passed
	reasonWarned          = "scan_warning"        // in a request; it is passed
	reasonUnknownLocal    = "unknown_proxy_page"
	reasonQuestion        = "question_invalid"
)

// statusClientGone is what the log shows when nobody was left to answer.
const statusClientGone = 499

// refusal is a decision against a request: what the agent is told and what the
// log keeps. It is an error, so that one found while dialling travels through
// net/http's transport.
type refusal struct {
	Status  int
	Layer   string
	Reason  string
	Message string // one sentence
	Rule    string // the route that decided, if any
	Ask     string // how to get what was wanted
	// RetryAfter is when the same request could be allowed; 0 is not known.
	RetryAfter time.Duration
	// Found is what a scan found, never its text.
	Found []found
}

// Error implements error.
func (r *refusal) Error() string { return r.Layer + ": " + r.Reason + ": " + r.Message }

// withRule returns a copy naming the route that decided.
func (r *refusal) withRule(rule string) *refusal {
	c := *r
	c.Rule = rule
	return &c
}

const (
	askFix  = "This needs no permission: correct the request and send it again."
	askNone = "This is never allowed through the proxy; find another way to do the task."
	askWait = "Try again later; if it stays, tell the operator."
)

func malformed(reason, message string) *refusal {
	return &refusal{Status: http.StatusBadRequest, Layer: layerParse, Reason: reason, Message: message, Ask: askFix}
}

func mismatch(reason, message string) *refusal {
	return &refusal{Status: http.StatusMisdirectedRequest, Layer: layerIdentity, Reason: reason, Message: message, Ask: askFix}
}

func protocolRefusal(reason, message, ask string) *refusal {
	return &refusal{Status: http.StatusForbidden, Layer: layerProtocol, Reason: reason, Message: message, Ask: ask}
}

func unavailable(reason, message string) *refusal {
	return &refusal{Status: http.StatusServiceUnavailable, Layer: layerProxy, Reason: reason, Message: message, Ask: askWait}
}

// unrecorded is the refusal of everything while decisions cannot be recorded.
func unrecorded() *refusal {
	no := unavailable(reasonAudit, "The decision log cannot be written, so no request may pass.")
	no.Layer, no.Ask = layerLedger, "Nothing you send can change that: tell the operator that the bottle's ledger is full or its disk is."
	return no
}

func upstreamRefusal(status int, reason, message string) *refusal {
	return &refusal{Status: status, Layer: layerUpstream, Reason: reason, Message: message, Ask: askWait}
}
