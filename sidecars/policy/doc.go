// Package policy is the one compiled form of an egress policy. The proxy
// decides with it, plans are explained and narrowed with it, and a bottle
// inside a bottle is held to its parent's with it.
//
// Lives here: validation of routes (validate, match), the one normal form of a
// path (path), the decision as a pure function (decide, closest, git), the
// proof that one policy allows no more than another (subset, contain, expr),
// narrowing on request (narrow), and all of it in words (words). Does not live
// here: credentials, dialling and the reading of requests (sidecars/egress),
// and the files that policies are written in (provision/manifest).
//
// # What a route allows
//
// The most specific route decides a host: its exact name, else the longest
// wildcard. A route without matches allows every request to its host. With
// matches, one of them must hold whole: one of its paths, one of its methods
// and all of its headers, of the parts that it has.
//
//   - A path rule is met only by a path that can be read in one way
//     (NormalizePath), and not beside a header that names another path to some
//     servers (X-Original-URL). Regular expressions see the normal form, where
//     only what must be is percent-encoded.
//   - Methods hold for what a server may take for the method too:
//     X-HTTP-Method-Override and its kin, and _method in the query. One in a
//     request's body is not seen.
//   - A header rule is met only by a header that occurs once, in one spelling,
//     and travels on.
//
// Pushing with git is never allowed, and fetching only by a route with
// GitFetch, whatever its matches say. On a route with matches a fetch needs a
// match whose paths and headers hold; its methods are lifted for the two
// requests of a fetch in their plain form, and for nothing else.
package policy
