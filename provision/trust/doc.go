// Package trust knows what each client program needs to reach the Internet
// through a bottle's proxy and to believe its certificates.
//
// Lives here: the environment variables, the configuration files for processes
// with an empty environment, the trust store for Java, and the doctor that says
// inside a guest what is missing. All of it is text made from the bottle's
// endpoints and CA. Does not live here: how files get into a guest (package
// setup), the bundle of the image's and the bottle's CAs (the backends), and what
// the proxy allows (package policy).
//
// # Invariants
//
// No file holds a secret: the CA is public and the proxy needs no login.
// Variables that replace a client's own CAs name the bundle that holds both;
// those that add to them name the bottle's CA alone.
package trust
