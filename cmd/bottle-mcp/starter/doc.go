// Package starter writes the first manifests of an operator: a bottle and an
// agent for the project in a directory.
//
// # Lives here
//
// What kinds of projects there are and the public hosts that their tools
// download packages from, the look at a directory, and the text of the files.
//
// # Does not live here
//
// Where manifests are kept and who may overwrite one (cmd/bottle-mcp), and what
// a manifest means (provision/manifest).
//
// # The invariant
//
// A directory decides which lines of the table are used and nothing more. A
// host that a project's own files name is written as a comment: what comes with
// a repository never widens a policy unless a person says so.
package starter
