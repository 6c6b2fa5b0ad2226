// Package archive makes and unpacks the tar streams in which files travel
// between the host and a guest.
//
// # The two sides
//
// Pack reads a tree, Unpack writes one. Both run on the host, where the
// stream comes from a hostile guest, and inside the guest (GuestMain), where
// the tree may be rewritten by hostile processes while it is read. CopyVia
// joins the two for every backend: it is Backend.Copy over Backend.Exec.
//
// # The invariant
//
// Nothing outside the root a caller hands over is read, written or changed,
// whatever the stream says and whoever races. Every step opens one name in
// one open directory and never follows a symbolic link; whole paths are never
// given to the kernel. What cannot be copied safely is left out and stands in
// the report with its reason; a stream that ends early is an error.
//
// # Does not live here
//
// Which host paths a caller may name (tools, provision), and how a process is
// started in a guest (the backends).
package archive
