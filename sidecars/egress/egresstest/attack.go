package egresstest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Hosts of a bed. The ones with a route are answered for by its origin, at one
// port that takes TLS and plain HTTP; everything else is the attacker's.
const (
	// Allowed gets the credential, and requests below /ok.
	Allowed = "allowed.test"
	// Open is the same without a credential.
	Open = "open.test"
	// Budgeted allows BudgetRate requests a minute.
	Budgeted = "budget.test"
	// Forge may be read, and fetched from with git.
	Forge = "forge.test"
	// Wild is a domain below which everything is allowed, of Narrow less.
	Wild   = "wild.test"
	Narrow = "narrow." + Wild
	// Bucket is below a wildcard that gets the credential.
	Bucket = "bucket.pinned.test"
	// Inside is allowed and leads to the attacker's address, which is private.
	Inside = "inside.test"
	// BadCertificate and OldTLS are allowed and have TLS that cannot be trusted.
	BadCertificate = "badcert.test"
	OldTLS         = "oldtls.test"
	// Unscanned is allowed, and nobody looks at what goes there.
	Unscanned = "off.test"
	// Evil is the attacker's.
	Evil = "evil.test"

	// BudgetRate bounds Budgeted.
	BudgetRate = 5
)

// Slot is the credential's.
const Slot = "T0"

// Scene is where attacks take place.
type Scene struct {
	// Port is the origin's and the sink's.
	Port int
	// EvilIP is the sink's address.
	EvilIP netip.Addr
	// Token is the credential that the proxy puts on. The guest does not have it.
	Token string
	// Known is a secret that the guest has and the proxy knows; so is Canary.
	Known, Canary string
}

// Origins are the names that lead to the origin; every other one leads to the
// sink.
func Origins() []string {
	return []string{Allowed, Open, Budgeted, Forge, Narrow, "any." + Wild, Bucket, BadCertificate, OldTLS, Unscanned}
}

// Sinks are names of the attacker that a resolver should know.
func Sinks() []string {
	return []string{Evil, Inside, "not" + Allowed, Allowed + "." + Evil, Wild, "x" + Wild, "ssh." + Forge}
}

// Routes are the policy of a bed whose origin has a private address.
func (s Scene) Routes(private string) []sidecars.Route {
	auth := &sidecars.Auth{Scheme: sidecars.SchemeBearer, Slot: Slot}
	ok := []sidecars.Match{{Methods: []string{"GET", "POST"}, Paths: []sidecars.PathMatch{{Type: sidecars.MatchPrefix, Value: "/ok"}}}}
	read := []sidecars.Match{{Methods: []string{"GET"}, Paths: []sidecars.PathMatch{{Type: sidecars.MatchPrefix, Value: "/repos"}}}}
	routes := []sidecars.Route{
		{Host: Allowed, Auth: auth, Matches: ok},
		{Host: Open, Matches: ok},
		{Host: Budgeted, Budget: &sidecars.Budget{PerMinute: BudgetRate}},
		{Host: Forge, Matches: read, GitFetch: true},
		{Host: "*." + Wild},
		{Host: Narrow, Matches: ok},
		{Host: "*.pinned.test", Auth: auth},
		{Host: Inside},
		{Host: BadCertificate},
		{Host: OldTLS},
		{Host: Unscanned, DLP: &sidecars.DLP{Outbound: []string{}}},
	}
	for i := range routes {
		routes[i].Ports = []int{s.Port}
		if routes[i].Host != Inside {
			routes[i].Private = []string{private}
		}
	}
	return routes
}

// Attack is one try. It says what goes to the proxy, byte by byte.
type Attack struct {
	// Row is the catalogue's, Name tells the tries of a row apart.
	Row, Name string
	// Connect is the head that opens a tunnel; nil = Send goes to the proxy.
	Connect []byte
	// Hello is sent in the tunnel as it is, and nothing after it.
	Hello []byte
	// SNI is the name of a TLS handshake in the tunnel; "" = there is none.
	SNI string
	// OldTLS allows the handshake nothing newer than TLS 1.1.
	OldTLS bool
	// Send follows: in the tunnel, or alone.
	Send []byte
	// Streams go over HTTP/2 instead.
	Streams []Stream
	// Answers is how many are awaited.
	Answers int

	// Reasons are those of which the proxy gives one; none = it lets the request
	// pass without what is dangerous in it.
	Reasons []string
	// Forbidden never reaches the origin.
	Forbidden string
	// NeedsOrigin says that a part of it is allowed and has to be answered.
	NeedsOrigin bool
}

// Stream is one request over HTTP/2: its fields in order, pseudo ones first.
type Stream struct {
	Fields [][2]string
	Body   []byte
}

// Title names the attack as a test.
func (a Attack) Title() string { return a.Row + "/" + a.Name }

// Answer is what came back.
type Answer struct {
	// Statuses and Reasons are those of the answers; a reason is "" where the
	// proxy did not refuse.
	Statuses []int
	Reasons  []string
	// Text is what was in them, heads and bodies.
	Text []byte
	// Fault says why there are no more answers, for people.
	Fault string
}

// Evidence is what a bed saw of an attack.
type Evidence struct {
	Origin, Sink Recording
	Answer       Answer
}

// Leak says how the attack got through; "" = it did not.
func (a Attack) Leak(s Scene, e Evidence) string {
	if e.Sink.Connections > 0 {
		return fmt.Sprintf("the attacker's server was reached %d times: %.200q", e.Sink.Connections, e.Sink.Bytes)
	}
	if a.Forbidden != "" && bytes.Contains(e.Origin.Bytes, []byte(a.Forbidden)) {
		return fmt.Sprintf("%q reached the origin", a.Forbidden)
	}
	for _, form := range []string{s.Token, hex.EncodeToString([]byte(s.Token)), base64.StdEncoding.EncodeToString([]byte(s.Token))} {
		if s.Token != "" && bytes.Contains(e.Answer.Text, []byte(form)) {
			return "the credential came back to the guest"
		}
	}
	return ""
}

// Expected reports whether one of the reasons is among those given.
func (a Attack) Expected(given []string) bool {
	return len(a.Reasons) == 0 || slices.ContainsFunc(given, func(r string) bool { return slices.Contains(a.Reasons, r) })
}

func (s Scene) at(host string) string { return host + ":" + strconv.Itoa(s.Port) }

// connect is the head of an honest CONNECT.
func (s Scene) connect(host string) []byte {
	return []byte("CONNECT " + s.at(host) + " HTTP/1.1\r\nHost: " + s.at(host) + "\r\n\r\n")
}

// Attacks are all of them, row by row.
func (s Scene) Attacks() []Attack {
	return slices.Concat(s.hosts(), s.parsing(), s.identity(), s.protocol(), s.sockets(), s.messages(), s.transport(), s.inside(), s.encodings())
}

// Sample is the first attack of each row.
func Sample(all []Attack) []Attack {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(all), func(a Attack) bool {
		known := seen[a.Row]
		seen[a.Row] = true
		return known
	})
}
