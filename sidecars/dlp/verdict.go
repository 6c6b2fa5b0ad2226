package dlp

import "github.com/bottle-mcp/bottle-mcp/sidecars"

// What a route does with a match, by the names that manifests use.
const (
	OnMatchSupervise = sidecars.OnMatchSupervise
	OnMatchRedact    = sidecars.OnMatchRedact
	OnMatchBlock     = sidecars.OnMatchBlock
)

// Verdict is what is to be done with a text.
type Verdict uint8

// Verdicts, in order of weight.
const (
	// Pass: nothing of weight was found.
	Pass Verdict = iota
	// Redact: overwrite what was found, scan once more, and pass what is clean.
	Redact
	// Hold: ask the operator, and refuse without an answer.
	Hold
	// Refuse: the text does not leave.
	Refuse
)

// String implements fmt.Stringer.
func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Redact:
		return "redact"
	case Hold:
		return "hold"
	}
	return "refuse"
}

// Decide merges findings under a route's rule for matches; "" is
// OnMatchSupervise, and any other unknown word OnMatchBlock.
//
// A canary refuses whatever the rule is. What could not be looked at is held
// or refused: it cannot be redacted.
func Decide(found []Finding, onMatch string) Verdict {
	worst := Pass
	for _, f := range found {
		worst = max(worst, verdict(f, onMatch))
	}
	return worst
}

func verdict(f Finding, onMatch string) Verdict {
	switch {
	case f.Level == Warn:
		return Pass
	case f.Level != Act:
		return Refuse
	case onMatch == OnMatchSupervise || onMatch == "":
		return Hold
	case onMatch == OnMatchRedact && f.Detector != Unscannable:
		return Redact
	}
	return Refuse
}
