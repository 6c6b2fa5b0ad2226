// Package cli drives Apple's container program: typed requests become argument
// vectors inside its grammar, JSON becomes values, failures become classified
// errors. The grammar and its traps are those of versions 1.0.0 to 1.2.2, read
// from apple/container's source; later versions are decoded tolerantly.
//
// Does not live here: what a bottle needs (macoscontainer) and how a process is
// run (backend/command).
package cli
