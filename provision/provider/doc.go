// Package provider says how one kind of agent is set up in a guest.
//
// # Lives here
//
// The providers: claude, codex, pi and generic are built in, an operator's own
// are files at ~/.bot-bottle/contrib/NAME/provider.yaml. Parsing them as
// strictly as manifests, resolving one with the settings of a launch into what
// has to be in the guest (routes, environment, files, commands), and reading
// the login of this host's own agent programs.
//
// # Does not live here
//
// Putting any of it into a guest (provision), where secrets of manifests come
// from (provision), and which agent a bottle has (provision/manifest).
//
// # The invariant
//
// A guest gets placeholders. A credential that is read here travels in a
// secret.Value to the egress proxy and nowhere else: no resolved file, variable,
// argument or error holds one. What a provider's file says can only name places
// below the guest's home, and no text of a launch, such as its label, can become
// an option, an escape or a key of what is written.
package provider
