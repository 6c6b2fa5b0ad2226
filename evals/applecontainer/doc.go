// Command applecontainer is a stand-in for Apple's container program on Linux.
// It accepts that program's command line, to the letter of the contract in
// package grammar, drives real containers through rootful Podman, and prints
// what the contract records. It is a test instrument: the backend that is
// written for Macs runs on it unchanged, in the world of package world, which
// also says what it leaves in its state directory.
//
// It is faithful in its traps as well as in what works: results on standard
// output and everything else on standard error, one-line and indented JSON,
// exit 1 for nearly everything, a default route on internal networks, the
// host's owners in what cp brings, environment that exec cannot override.
// Faults are switched on by files (package faults).
//
// Not done: yaml and toml, named volumes, machines, registries, export, prune.
// Those say so and exit with 1. Build it with CGO_ENABLED=0: it is also the
// init and the builder inside of guests.
//
// Does not live here: the grammar (backend/macoscontainer/grammar), documents
// (shape), containers and networks (engine).
package main
