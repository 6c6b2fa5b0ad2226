// Package egresstest is the red team of the egress proxy: attacks as data, what
// carries them out from where a guest is, and the beds that see whether one of
// them got through.
//
// Lives here: the table of attacks by the rows of the catalogue (rows_*), the
// client that sends them byte by byte (carry, h2, hello) and runs as a program
// in a guest (probe), servers that record everything they get (recorder), and a
// naive proxy through which every attack must succeed, so that a test which
// finds nothing has shown that it could (naive). Does not live here: the proxy
// (sidecars/egress), and where the beds stand (tests of sidecars/egress and
// provision/provisiontest).
package egresstest
