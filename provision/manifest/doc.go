// Package manifest reads the files in which an operator says what bottles and
// agents may do: Markdown with YAML front matter, in bot-bottle's format.
//
// # Lives here
//
// Loading from the operator's home and, for agents only, from a workspace;
// strict parsing of every key of the format and of our own; the trust that a
// file needs (trust.go); extends (extends.go, lay.go); the merging of several
// bottles at a launch (merge.go); where each value was written (origin.go).
// docs/manifests.md is the reference, and the package schema below describes
// the same keys for editors.
//
// # Does not live here
//
// What a request may change (provision narrows), what this version cannot
// enforce yet (provision refuses it when a launch is planned), where secrets
// come from (a manifest names host variables and never holds a value), and what
// a backend can do.
//
// # The invariant
//
// A file that is not understood completely is an error, and no error repeats
// what may be a credential. Bottles come from the home alone: a repository that
// an agent works on can never widen a policy. What a manifest says of a route is
// accepted only if the proxy's own policy accepts it.
package manifest
