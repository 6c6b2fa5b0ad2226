package policy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Bounds of a budget and of what may be answered. They keep sums from
// overflowing.
const (
	MaxBudget    = 1 << 48
	MaxPerMinute = 1 << 20
	MaxTypes     = 32
)

// checkRules judges what a route says beyond which requests it allows.
func checkRules(r sidecars.Route) []error {
	var faults []error
	if d := r.DLP; d != nil {
		faults = append(faults,
			checkDetectors("outbound", d.Outbound, sidecars.DetectTokenPatterns, sidecars.DetectKnownSecrets, sidecars.DetectEntropy),
			checkDetectors("inbound", d.Inbound, sidecars.DetectInjection))
		if !slices.Contains([]string{"", sidecars.OnMatchSupervise, sidecars.OnMatchRedact, sidecars.OnMatchBlock}, d.OnMatch) {
			faults = append(faults, fmt.Errorf("dlp: on a match nobody can %.40q; use supervise, redact or block", d.OnMatch))
		}
		faults = append(faults, checkInbound(*d))
	}
	if b := r.Budget; b != nil && !validBudget(*b) {
		faults = append(faults, errors.New("budget: its numbers must be positive and not absurd, with at least one of them"))
	}
	if r.Auth != nil && r.Auth.Pin != nil {
		faults = append(faults, checkPin(*r.Auth.Pin))
	}
	if a := r.Response; a != nil {
		faults = append(faults, checkResponse(*a))
	}
	return slices.DeleteFunc(faults, func(err error) bool { return err == nil })
}

func checkInbound(d sidecars.DLP) error {
	switch {
	case !slices.Contains([]string{"", sidecars.InboundReport, sidecars.InboundBlock}, d.InboundOnMatch):
		return fmt.Errorf("dlp: on a match in an answer nobody can %.40q; use report or block", d.InboundOnMatch)
	case d.InboundOnMatch == sidecars.InboundBlock && d.Inbound != nil && len(d.Inbound) == 0:
		return errors.New("dlp: answers are to be blocked and no detector reads them; name one, or leave inbound_on_match out")
	}
	return nil
}

func checkDetectors(way string, names []string, known ...string) error {
	for i, name := range names {
		if !slices.Contains(known, name) || slices.Contains(names[:i], name) {
			return fmt.Errorf("dlp: %.40q is no %s detector, or stands twice; known: %s", name, way, strings.Join(known, ", "))
		}
	}
	return nil
}

func validBudget(b sidecars.Budget) bool {
	for _, n := range []int64{b.Requests, b.BytesOut, b.BytesIn} {
		if n < 0 || n > MaxBudget {
			return false
		}
	}
	return b.PerMinute >= 0 && b.PerMinute <= MaxPerMinute && b != sidecars.Budget{}
}

func checkResponse(a sidecars.ResponseRules) error {
	if a.MaxBytes < 0 || a.MaxBytes > MaxBudget || len(a.Types) > MaxTypes || a.MaxBytes == 0 && len(a.Types) == 0 {
		return fmt.Errorf("response: it needs a positive max_bytes, or 1 to %d types", MaxTypes)
	}
	for i, t := range a.Types {
		if err := CheckMediaType(t); err != nil {
			return fmt.Errorf("response: type %.80q: %w", t, err)
		}
		if slices.Contains(a.Types[:i], t) {
			return fmt.Errorf("response: type %.80q stands twice", t)
		}
	}
	return nil
}

// CheckMediaType reports why t cannot be one of a route's response types:
// lower case, without parameters, and "*" for a whole subtype at most.
func CheckMediaType(t string) error {
	top, sub, ok := strings.Cut(t, "/")
	switch {
	case len(t) > 127:
		return errors.New("it is longer than 127 characters")
	case !ok || !isWord(top) || sub != "*" && !isWord(sub):
		return errors.New("it is no media type: a type, '/', and a subtype or '*', without parameters")
	case t != strings.ToLower(t):
		return errors.New("write it in lower case")
	}
	return nil
}

func isWord(s string) bool {
	for _, c := range []byte(s) {
		if c == '*' || !isToken(c) {
			return false
		}
	}
	return s != ""
}

// CheckAuthHeader reports why a header, named in canonical form, cannot carry a
// credential that the proxy adds.
func CheckAuthHeader(name string) error {
	folded, err := travellingHeader(name)
	switch {
	case err != nil:
		return err
	case folded == "Cookie" || folded == "Set-Cookie":
		return errors.New("a cookie holds more than one credential and cannot be replaced as a whole")
	case folded == "Host", folded == "Expect", folded == "Accept-Encoding", strings.HasPrefix(folded, "Content-"), kindOf(folded) != plainHeader:
		return errors.New("this header says something else about the request and cannot carry a credential")
	case name != http.CanonicalHeaderKey(name):
		return fmt.Errorf("write it as %q", http.CanonicalHeaderKey(name))
	}
	return nil
}

// dlpWithin: the child is scanned at least as well. Of two different answers to a
// match only blocking is known to let no more pass than the other.
func dlpWithin(c, q *route) string {
	child, parent := dlpOf(c), dlpOf(q)
	for _, way := range []struct {
		what          string
		child, parent []string
	}{{"requests", child.Outbound, parent.Outbound}, {"answers", child.Inbound, parent.Inbound}} {
		for _, name := range way.parent {
			if !slices.Contains(way.child, name) {
				return fmt.Sprintf("%s would not be scanned for %s", way.what, name)
			}
		}
	}
	if child.OnMatch != parent.OnMatch && child.OnMatch != sidecars.OnMatchBlock {
		return fmt.Sprintf("what a scan finds would be answered with %q, where the parent says %q", child.OnMatch, parent.OnMatch)
	}
	if parent.InboundOnMatch == sidecars.InboundBlock && child.InboundOnMatch != sidecars.InboundBlock {
		return "answers that try to instruct a model would pass, which the parent blocks"
	}
	return ""
}

// dlpOf spells the defaults out, but for the answer to a match.
func dlpOf(r *route) sidecars.DLP {
	var d sidecars.DLP
	if r.in.DLP != nil {
		d = *r.in.DLP
	}
	if d.Outbound == nil {
		d.Outbound = sidecars.DefaultOutbound()
	}
	if d.Inbound == nil {
		d.Inbound = sidecars.DefaultInbound()
	}
	return d
}

// responseWithin: the child may be answered with no more.
func responseWithin(c, q *route) string {
	if q.in.Response == nil {
		return ""
	}
	var child sidecars.ResponseRules
	if c.in.Response != nil {
		child = *c.in.Response
	}
	parent := *q.in.Response
	if parent.MaxBytes > 0 && (child.MaxBytes == 0 || child.MaxBytes > parent.MaxBytes) {
		return "answers larger than " + bytesWords(parent.MaxBytes)
	}
	if len(parent.Types) == 0 {
		return ""
	}
	if len(child.Types) == 0 {
		return "answers of any type, where the parent allows only " + list(parent.Types, ", ")
	}
	for _, t := range child.Types {
		top, _, _ := strings.Cut(t, "/")
		if !slices.Contains(parent.Types, t) && !slices.Contains(parent.Types, top+"/*") {
			return "answers of type " + t
		}
	}
	return ""
}

// spending adds up, for each of the parent's routes, what all routes of the child
// together may use of it.
type spending map[int]*spent

// spent are the columns of a budget. A route without a bound is unbounded.
type spent [4]struct {
	sum       int64
	unbounded bool
}

func columns(b *sidecars.Budget) [4]int64 {
	if b == nil {
		return [4]int64{}
	}
	return [4]int64{b.Requests, b.BytesOut, b.BytesIn, int64(b.PerMinute)}
}

// add counts a route of the child towards one of the parent's, and says what
// goes beyond its budget.
func (s spending) add(c *route, q *route, parent int) string {
	if q.in.Budget == nil {
		return ""
	}
	so := s[parent]
	if so == nil {
		so = &spent{}
		s[parent] = so
	}
	for i, n := range columns(c.in.Budget) {
		so[i].sum = sidecars.AddCapped(so[i].sum, n)
		so[i].unbounded = so[i].unbounded || n == 0
	}
	for i, most := range columns(q.in.Budget) {
		if most > 0 && (so[i].unbounded || so[i].sum > most) {
			return "together its routes there may use more than the parent's " + budgetWords(*q.in.Budget)
		}
	}
	return ""
}

// RuleWords says how a route bounds and scans what it allows, "" when it does not.
func RuleWords(r sidecars.Route) string { return strings.Join(ruleWords(r), "; ") }

// ruleWords says what a route's rules are, as notes beside its host.
func ruleWords(r sidecars.Route) []string {
	var notes []string
	if b := r.Budget; b != nil {
		notes = append(notes, budgetWords(*b))
	}
	if a := r.Response; a != nil {
		words := "answers"
		if len(a.Types) > 0 {
			words += " of " + list(a.Types, " or ")
		}
		if a.MaxBytes > 0 {
			words += " up to " + bytesWords(a.MaxBytes)
		}
		notes = append(notes, words)
	}
	if d := r.DLP; d != nil {
		notes = append(notes, scanWords("requests", d.Outbound)...)
		notes = append(notes, scanWords("answers", d.Inbound)...)
		if d.OnMatch != "" {
			notes = append(notes, "on a match "+d.OnMatch)
		}
		if d.InboundOnMatch == sidecars.InboundBlock {
			notes = append(notes, "answers that instruct a model blocked")
		}
	}
	return notes
}

func scanWords(what string, names []string) []string {
	switch {
	case names == nil:
		return nil
	case len(names) == 0:
		return []string{what + " not scanned"}
	}
	return []string{what + " scanned for " + list(names, " and ")}
}

func budgetWords(b sidecars.Budget) string {
	var parts []string
	for _, part := range []struct {
		n     int64
		words string
	}{
		{b.Requests, fmt.Sprintf("%d requests", b.Requests)}, {int64(b.PerMinute), fmt.Sprintf("%d a minute", b.PerMinute)},
		{b.BytesOut, bytesWords(b.BytesOut) + " out"}, {b.BytesIn, bytesWords(b.BytesIn) + " in"},
	} {
		if part.n > 0 {
			parts = append(parts, part.words)
		}
	}
	return "at most " + list(parts, ", ")
}

// bytesWords is exact: whole units, else bytes.
func bytesWords(n int64) string {
	for _, unit := range []struct {
		name  string
		shift int
	}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if n >= 1<<unit.shift && n%(1<<unit.shift) == 0 {
			return fmt.Sprintf("%d %s", n>>unit.shift, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// Spend is what all routes of child together may use of each route of parent that
// has a budget, by the host of parent's route. It means something when child is a
// Subset: then every column that parent bounds is bounded.
func Spend(child, parent *Policy) map[string]sidecars.Budget {
	out := map[string]sidecars.Budget{}
	for i := range child.routes {
		rivals, _ := deciders(child, parent, i)
		for _, j := range rivals {
			host, b := parent.routes[j].in.Host, child.routes[i].in.Budget
			if parent.routes[j].in.Budget == nil || b == nil {
				continue
			}
			out[host] = out[host].Plus(*b)
		}
	}
	return out
}
