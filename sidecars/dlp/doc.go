// Package dlp finds credentials in what leaves a bottle, and attempts to
// instruct the agent in what comes in.
//
// Lives here: the streaming engine (automaton, pattern, view, stream), the
// rules for token formats (rules_*, check), the search for secrets that are
// known, in every dress (scanner, forms), decoding (decode, inflate), the
// detector of prompt injection (injection), redaction and the merging of
// findings into a verdict. Does not live here: what to do with a verdict and
// where bytes come from (sidecars/egress, sidecars/gitgate), and where secrets
// come from (provision).
//
// # What holds
//
//   - Any way of cutting a text into chunks gives the findings of the whole.
//   - Time is linear in the text and memory does not depend on it, whatever the
//     text is. Where a bound is reached the finding says Unscannable: a caller
//     holds or blocks what could not be looked at, it never passes.
//   - A Finding does not hold what was found.
package dlp
