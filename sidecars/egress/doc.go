// Package egress is the only way out of a bottle: a forward proxy that denies
// by default, opens every TLS connection with the bottle's own authority, and
// puts credentials on requests that the guest never sees.
//
// Lives here: strict reading of request heads (guard, head), host and port
// parsing (authority), the policy as a pure function (policy), address
// classification and the one place that dials (address, dial), forwarding of
// HTTP/1.1 and HTTP/2 (forward), the WebSocket tunnel and the search through its
// messages (upgrade, tunnel, websocket, frames, messages), what bodies go through
// on their way (stage), credentials and the pinning of hosts to them
// (credential, pin), their way back in answers (echo, coding), budgets and rules
// for answers (budget, answer), the change of policy while requests run
// (generation, ending), refusals and the decision log (refuse, journal). Does
// not live here: how the listener came to be (backend), where routes and tokens
// come from (provision), how certificates are made (sidecars/ca), how secrets
// are found (sidecars/scrub, sidecars/dlp).
//
// # What holds for every request
//
// One name identifies it: CONNECT authority = SNI = Host or :authority =
// dialled name = certificate name = policy key. Whatever does not parse, is
// ambiguous or is not named by a route is refused before a byte leaves. A name
// is resolved once per connection, every answer is classified, and only a
// literal address of that answer is dialled. No environment variable is read.
// Inside a tunnel TLS is opened under the tunnel's name; plain HTTP is served
// there only where a route allows plain HTTP to that host and port.
//
// The guest is hostile: everything it sends is bounded in size, time and
// number, and nothing it sends reaches the log unfiltered.
package egress
