// Package scrub takes secrets out of bytes that flow, without changing how many
// there are.
//
// Lives here: the texts that a secret can stand in (forms), the automaton that
// finds all of them at once (automaton), and the stream that overwrites what it
// finds (stream). Does not live here: compression (sidecars/egress), and the
// search for credentials that nobody knows (sidecars/dlp).
//
// Package dlp looks for the same secrets more loosely, in what leaves a bottle:
// it reports, and what it reports ends a request. Here nothing may end and
// nothing may wait. A byte is held back only while it, together with what
// precedes it, is the beginning of a secret, so that an event of a stream
// arrives when it was sent.
//
// # What holds
//
//   - However a text is cut, no whole secret comes out in any of its forms, and
//     all else comes out unchanged and in its place.
//   - Time is linear in the text, whatever the text is.
//   - A secret of fewer than Least bytes is not looked for: it would be found
//     everywhere.
package scrub
