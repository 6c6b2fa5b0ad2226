// Package export writes the decisions of a ledger in the formats of other
// programs: HAR, CSV and JSON lines.
//
// Lives here: the formats. Does not live here: reading and checking a ledger
// (ledger). What is exported is what a ledger holds, and so has no header
// value, query, body or secret.
package export
