// Package manifest reads the files in which an operator says what bottles and
// agents may do: Markdown with YAML front matter, in bot-bottle's format.
//
// # Lives here
//
// Loading from the operator's home and, for agents only, from a workspace;
// strict parsing; extends; merging of several bottles. The keys are
// bot-bottle's, and backend, isolation, resources and ttl are added.
//
// # Does not live here
//
// What a request may change (provision narrows), where secrets come from (a
// manifest names host variables and never holds a value), and what a backend
// can do.
//
// # The invariant
//
// A file that is not understood completely is an error. A key that this
// version does not support yet is refused and not skipped, since skipping it
// would weaken the policy that its author wrote. Bottles come from the home
// alone: a repository that an agent works on can never widen a policy.
package manifest
