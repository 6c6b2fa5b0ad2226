// Package backendtest is the conformance suite of backend.Backend: what every
// engine must do alike, as one function that each backend's tests call.
//
// Lives here: cases over the interface only, with stable names. Does not live
// here: anything of one engine; what differs between hosts is read from
// Capabilities, so that a case is never left out silently.
package backendtest
