package egress

import (
	"maps"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/dlp"
	"github.com/bottle-mcp/bottle-mcp/sidecars/scrub"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// held are the secrets that a proxy was given, from its start on: what was a
// secret once is looked for as long as the bottle lives.
type held struct {
	tokens          map[string]secret.Value // by slot
	known, canaries []sidecars.Named
	// former are tokens in whose slot another one is by now.
	former []sidecars.Named
}

func newHeld(s sidecars.Secrets) held {
	return held{tokens: maps.Clone(s.Tokens), known: slices.Clone(s.Known), canaries: slices.Clone(s.Canaries)}
}

// with adds what is new. Secrets that are not given stay.
func (h held) with(s sidecars.Secrets) held {
	out := held{tokens: map[string]secret.Value{}, known: merged(h.known, s.Known), canaries: merged(h.canaries, s.Canaries), former: slices.Clone(h.former)}
	maps.Copy(out.tokens, h.tokens)
	for slot, token := range s.Tokens {
		if old, replaced := h.tokens[slot]; replaced && !old.Empty() && old.Reveal() != token.Reveal() {
			out.former = append(out.former, sidecars.Named{Name: slot, Value: old})
		}
		out.tokens[slot] = token
	}
	return out
}

func (h held) equal(o held) bool {
	same := func(a, b sidecars.Named) bool { return a.Name == b.Name && a.Value.Reveal() == b.Value.Reveal() }
	return maps.EqualFunc(h.tokens, o.tokens, func(a, b secret.Value) bool { return a.Reveal() == b.Reveal() }) &&
		slices.EqualFunc(h.known, o.known, same) && slices.EqualFunc(h.canaries, o.canaries, same) && slices.EqualFunc(h.former, o.former, same)
}

// merged adds what is new by name.
func merged(have, more []sidecars.Named) []sidecars.Named {
	out := slices.Clone(have)
	for _, n := range more {
		out = append(slices.DeleteFunc(out, func(o sidecars.Named) bool { return o.Name == n.Name }), n)
	}
	return out
}

// credentials are all tokens, those of earlier times among them.
func (h held) credentials() []sidecars.Named {
	var out []sidecars.Named
	for _, slot := range slices.Sorted(maps.Keys(h.tokens)) {
		out = append(out, sidecars.Named{Name: slot, Value: h.tokens[slot]})
	}
	return append(out, h.former...)
}

// searches look through what passes.
type searches struct {
	// scanner looks for secrets in requests, and for injection in answers.
	scanner *dlp.Scanner
	// scrubber keeps the credentials that are put on requests out of answers.
	scrubber *scrub.Scrubber
}

func newSearches(h held, placeholders []string) (s searches, err error) {
	if s.scrubber, err = newScrubber(h); err == nil {
		s.scanner, err = newScanner(h, placeholders)
	}
	return s, err
}
