// Command egressbench measures the egress proxy beside its peers in one run
// and prints the figures with what was promised of them.
//
// Lives here: an origin on loopback, a client that adds as little as it can,
// the start of the sidecar as a process of its own with everything on (routes,
// a credential, the scanner, the ledger), the start of the peers (goproxy as a
// bare interceptor, Debian's mitmdump with an add-on of one header and
// streaming), the measurements, the report. The peers that are Go programs are
// a module of their own in peers, so that the product does not depend on them.
// Does not live here: benchmarks of single functions, which are beside those.
//
// Everything takes turns within a run, since only ratios say anything on a
// machine that has other work. It is for Linux as root; what is missing among
// the peers is left out and named:
//
//	just bench-egress -out evals/results/egress.md
package main
