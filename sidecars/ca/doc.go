// Package ca makes a bottle's own certificate authority and the server
// certificates signed by it.
//
// Lives here: the authority (NewAuthority) that provision creates once per
// bottle, and the Minter with which the egress sidecar makes one leaf per
// intercepted host. Does not live here: where the key is kept or how it
// travels (provision, backend), which hosts may be intercepted
// (sidecars/egress).
//
// The authority's private key leaves this package only as a secret.Value. It
// must reach the egress sidecar and nothing else: whoever holds it can
// impersonate every server to this one bottle.
package ca
