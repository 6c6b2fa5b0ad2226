// Package internet is a whole Internet for one network namespace: it answers
// on every public address, v4 and v6, and writes down what arrives. A leak is
// therefore an event in a file, never a silence that could mean anything.
//
// DNS, HTTP and HTTPS origins, and plain TCP and UDP listeners live here; the
// namespaces that keep all of it on this machine do not (package world).
package internet
