// Package setup puts small configuration files into a guest and proves that
// they are there.
//
// Lives here: both halves of the hidden verb "guest setup". The host's half says
// which files are wanted and judges the answer; the guest's half runs as the user
// whose files they are, in one process for all of them, and reads back what it
// wrote. Does not live here: what the files hold (package trust and its like), and
// the exec that runs the verb.
//
// # Invariants
//
// What an image or an earlier step brought is never overwritten: a file is made,
// added to where its format allows that, or left and reported. Doing it again
// changes nothing. The answer comes from a hostile guest: it is bounded, strictly
// decoded, and has to account for every file with the digest of what was read
// back.
package setup
