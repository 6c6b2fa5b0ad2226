// Package ledger is the record of what a bottle asked of the outside and what
// was decided: JSON lines in which each holds the hash of the one before, so
// that a changed, missing, moved or added line is found.
//
// Lives here: the form of a line (entry), the chain and its check (chain,
// verify), the one writer of a process with its queue (ledger), the files it
// writes and their rotation (files), reading what others write (reader), and
// the head that somebody else keeps (follow). Does not live here: what is
// decided (egress), where the files are (the backends), and what people see of
// them (cmd).
//
// The hash is SHA-256 without a key. A key would have to be where the writer
// is, and whoever takes the writer over would have it; the anchor, which the
// writer cannot reach, is what finds a history that was written anew.
package ledger
