// Package grammar is the contract of Apple's container program as data: its
// command line (commands, options, arity, names) and the schemas of what it
// prints, with a strict parser and validator for both. Tests hold every
// argument vector and fixture of this module to it, and the Linux stand-in of
// the evals accepts exactly what it accepts.
//
// Does not live here: making argument vectors and decoding output for use
// (cli). Nothing of the product imports this package.
package grammar
