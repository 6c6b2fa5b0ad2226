package egress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/dlp"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const (
	// hidden stands in the log where a secret stood.
	hidden = "[redacted]"
	// mostScanned bounds what all requests together hold to be scanned as a whole.
	mostScanned = 64 << 20
	// mostFound bounds what a refusal lists.
	mostFound = 8
)

// newScanner compiles what is searched for: every secret that the proxy has.
func newScanner(h held, placeholders []string) (*dlp.Scanner, error) {
	o := dlp.Options{Placeholders: placeholders}
	for _, c := range h.credentials() {
		if user, password, ok := strings.Cut(c.Value.Reveal(), ":"); ok && user != "" {
			o.Known = append(o.Known, dlp.Known{Name: c.Name, Value: secret.New(password)})
		}
		o.Known = append(o.Known, dlp.Known(c))
	}
	for _, k := range h.known {
		o.Known = append(o.Known, dlp.Known(k))
	}
	for _, k := range h.canaries {
		o.Canaries = append(o.Canaries, dlp.Known(k))
	}
	return dlp.New(o)
}

// scanRules say how a route is scanned.
type scanRules struct {
	outbound, inbound []string // nil = the default, empty = none
	onMatch           string
	// blocks says that an answer which tries to instruct a model does not pass.
	blocks bool
}

func scanRulesOf(d *sidecars.DLP) scanRules {
	if d == nil {
		return scanRules{}
	}
	return scanRules{outbound: slices.Clone(d.Outbound), inbound: slices.Clone(d.Inbound), onMatch: d.OnMatch, blocks: d.InboundOnMatch == sidecars.InboundBlock}
}

// requests reports whether requests are scanned at all.
func (s scanRules) requests() bool { return s.outbound == nil || len(s.outbound) > 0 }

// answers are the detectors of answers; none means that they are not read.
func (s scanRules) answers() []string {
	if s.inbound == nil {
		return sidecars.DefaultInbound()
	}
	return s.inbound
}

// found is a finding as the agent and the operator see it. It does not hold what
// was found.
type found struct {
	Detector string `json:"detector"`
	Kind     string `json:"kind"`
	Name     string `json:"name,omitempty"`
	Where    string `json:"where"`
	Via      string `json:"via,omitempty"`
	Start    int64  `json:"start"`
	End      int64  `json:"end"`
}

func foundOf(f dlp.Finding) found {
	return found{Detector: f.Detector, Kind: f.Kind, Name: f.Name, Where: clean(string(f.Field)), Via: f.Via, Start: f.Start, End: f.End}
}

// words say what was found, for people.
func (f found) words() string {
	what := "what looks like a credential (" + f.Kind + ")"
	switch f.Detector {
	case dlp.KnownSecrets:
		what = "the secret " + f.Name
	case dlp.Canary:
		what = "this bottle's canary"
	case dlp.Unscannable:
		return "what cannot be scanned (" + f.Kind + ") in the " + f.Where
	case dlp.InjectionDetection, dlp.Entropy:
		what = f.Detector + " (" + f.Kind + ")"
	}
	if f.Via != "" {
		what += " encoded as " + f.Via
	}
	return fmt.Sprintf("%s in the %s, at byte %d", what, f.Where, f.Start)
}

// secretFound is the refusal of what holds a secret.
func secretFound(all []dlp.Finding) *refusal {
	no := &refusal{Status: http.StatusForbidden, Layer: layerDLP}
	worst := all[0]
	for _, f := range all {
		if f.Level == dlp.Warn {
			continue
		}
		if len(no.Found) < mostFound {
			no.Found = append(no.Found, foundOf(f))
		}
		if f.Level > worst.Level {
			worst = f
		}
	}
	no.Reason = reasonFor(worst)
	no.Message = "The request holds " + foundOf(worst).words() + "; it was not sent."
	no.Ask = "Send the request without it: credentials are put on by the proxy and are not needed in a request. If this is no secret, ask the operator to change dlp of this route in the bottle's manifest, with the reason."
	return no
}

func reasonFor(f dlp.Finding) string {
	switch {
	case f.Detector == dlp.Canary:
		return reasonCanary
	case f.Detector == dlp.Unscannable:
		return reasonUnscannable
	}
	switch f.Field {
	case dlp.Host:
		return reasonSecretHost
	case dlp.Path:
		return reasonSecretPath
	case dlp.Query:
		return reasonSecretQuery
	case dlp.Body:
		return reasonSecretBody
	case dlp.Trailer:
		return reasonSecretTrailer
	case dlp.Message:
		return reasonSecretMessage
	}
	return reasonSecretHeader
}

// Proposal is a request that waits for the operator's word. It holds no secret.
type Proposal struct {
	Bottle, Rule, Method, Host, Path string
	// Findings say what was found and where, in words.
	Findings []string
}

// approved asks the operator, where a rule says so and somebody can be asked.
func (ex *exchange) approved(all []dlp.Finding) bool {
	if ex.p.hold == nil {
		return false
	}
	d := ex.d
	ex.p.hide(&d)
	p := Proposal{Bottle: d.Bottle, Rule: d.Rule, Method: d.Method, Host: d.Host, Path: d.Path}
	for _, f := range all {
		if f.Level != dlp.Warn && len(p.Findings) < mostFound {
			p.Findings = append(p.Findings, foundOf(f).words())
		}
	}
	ctx, cancel := context.WithTimeout(ex.r.Context(), ex.p.limits.Hold)
	defer cancel()
	yes, err := ex.p.hold(ctx, p)
	return yes && err == nil && ctx.Err() == nil
}

// weigh turns what was found in something that is known as a whole into a
// refusal. redact, where it is not nil, takes out what was found.
func (ex *exchange) weigh(all []dlp.Finding, redact func() error) *refusal {
	switch dlp.Decide(all, ex.route.scans.onMatch) {
	case dlp.Pass:
		ex.scan.warn(all)
		return nil
	case dlp.Redact:
		if redact != nil {
			err := redact()
			var no *refusal
			if err == nil {
				return nil
			} else if errors.As(err, &no) {
				return no
			}
		}
	case dlp.Hold:
		if ex.approved(all) {
			return nil
		}
	case dlp.Refuse:
	}
	return secretFound(all)
}

// judgePiece is for what goes on piece by piece: nobody can be asked about a
// part, and a part that has left cannot be changed.
func (ex *exchange) judgePiece(all []dlp.Finding) *refusal {
	if dlp.Decide(all, ex.route.scans.onMatch) == dlp.Pass {
		ex.scan.warn(all)
		return nil
	}
	return secretFound(all).withRule(ex.route.rule)
}

// scanState is what the scans of an exchange hold and have to say.
type scanState struct {
	mu     sync.Mutex
	notes  []string
	reason string
	held   int64
	open   []interface{ close() }
}

// warn keeps what is only for the record.
func (s *scanState) warn(all []dlp.Finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range all {
		if len(s.notes) == mostFound {
			return
		}
		s.notes = append(s.notes, foundOf(f).words())
		reason := reasonWarned
		if f.Detector == dlp.InjectionDetection {
			reason = reasonInjection
		}
		s.reason = cmp.Or(s.reason, reason)
	}
}

// note puts it into the decision, where that has no other reason.
func (s *scanState) note(d *sidecars.Decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.notes) > 0 && d.Reason == "" {
		d.Layer, d.Reason, d.Message = layerDLP, s.reason, "Passed, with "+strings.Join(s.notes, "; ")+"."
	}
}

// closes has c closed with the exchange.
func (s *scanState) closes(c interface{ close() }) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, c)
}

// end gives back what the scans hold.
func (s *scanState) end(p *Proxy) {
	s.mu.Lock()
	open, held := s.open, s.held
	s.open, s.held = nil, 0
	s.mu.Unlock()
	for _, c := range open {
		c.close() // may still have something to say
	}
	p.scanned.give(held)
}

// budgetOfMemory bounds what is held to be scanned. The zero value is unused.
type budgetOfMemory struct{ used atomic.Int64 }

func (b *budgetOfMemory) take(n int64) bool {
	if b.used.Add(n) <= mostScanned {
		return true
	}
	b.used.Add(-n)
	return false
}

func (b *budgetOfMemory) give(n int64) { b.used.Add(-n) }

// hideIn takes secrets out of what is logged and answered of a refused request.
func (p *Proxy) hideIn(d *sidecars.Decision, no *refusal) *refusal {
	host := d.Host
	if p.hide(d); d.Host == host {
		return no
	}
	c := *no
	c.Message, c.Ask = strings.ReplaceAll(c.Message, host, hidden), strings.ReplaceAll(c.Ask, host, hidden)
	return &c
}

// hide takes secrets out of a decision.
func (p *Proxy) hide(d *sidecars.Decision) {
	scanner := p.current.Load().scanner
	holds := func(field dlp.Field, text string) bool {
		return text != "" && dlp.Decide(scanner.ScanWith(dlp.StreamOptions{Field: field}, []byte(text)), dlp.OnMatchBlock) != dlp.Pass
	}
	if holds(dlp.Path, d.Path) {
		d.Path = hidden
	}
	if d.Host != d.Rule && holds(dlp.Host, d.Host) {
		d.Host = hidden
	}
}
