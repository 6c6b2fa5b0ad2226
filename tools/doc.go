// Package tools is the MCP surface that a model sees: the five tools, one file
// each, and the resources of a bottle.
//
// Lives here: typed inputs and outputs with their schemas, validation of
// arguments, the text that a model reads, progress, background jobs, and the
// one function that turns a Go error into a result with a next step.
//
// Does not live here: transports and authentication (server), what a bottle is
// and what its policy allows (provision), engines (backend).
//
// The invariant: whatever a guest wrote is data. In text and structured
// content it is neutralised (clean.go) and bounded (capture.go); its raw bytes
// exist only in resources.
package tools
