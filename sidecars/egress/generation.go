package egress

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// cutWait is how long Reload waits for what it has cut to be over.
const cutWait = 2 * time.Second

// generation is one policy in force. Connections to upstreams belong to the
// policy under which they were opened: a request of another one never travels
// on them, so that a route that was taken away is not ridden on.
type generation struct {
	table        *table
	pins         *pinning
	placeholders []string
	searches
	// viaH1 talks HTTP/1.1 to upstreams, viaH2 also HTTP/2. The latter serves
	// clients that came with HTTP/2 (gRPC needs it end to end); for all others
	// one connection per request is faster and takes a third of the memory.
	viaH1, viaH2 *http.Transport
}

// newGeneration puts the budgets of a table in force.
func (p *Proxy) newGeneration(t *table, placeholders []string, s searches) *generation {
	for i, r := range t.policy.Routes() {
		if m := p.meters.of(r); m != nil {
			m.bound(r.Budget)
			t.routes[i].meter = m
		}
	}
	return &generation{table: t, pins: newPinning(placeholders), placeholders: slices.Clone(placeholders), searches: s, viaH1: p.newTransport(t, false), viaH2: p.newTransport(t, true)}
}

// newTransport sets Proxy to nil: no environment variable may send requests
// another way.
func (p *Proxy) newTransport(t *table, h2 bool) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(h2)
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            p.out.dialFor(t),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots, GetClientCertificate: noCertificate},
		TLSHandshakeTimeout:    p.limits.Handshake,
		DisableCompression:     true, // lengths and ETags stay those of the server
		MaxIdleConns:           idleUpstream,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        upstreamKeep,
		ResponseHeaderTimeout:  p.limits.ResponseHead,
		ExpectContinueTimeout:  continueWait,
		MaxResponseHeaderBytes: maxResponseHead,
		Protocols:              protocols,
	}
}

func (g *generation) transport(h2 bool) *http.Transport {
	if h2 {
		return g.viaH2
	}
	return g.viaH1
}

// retire closes connections that nobody uses. What becomes idle afterwards is
// closed then.
func (g *generation) retire() {
	g.viaH1.CloseIdleConnections()
	g.viaH2.CloseIdleConnections()
}

// keeps reports whether an exchange that an earlier policy allowed may go on:
// the request is allowed, and by a route under which it would be carried out in
// the same way.
func (g *generation) keeps(ex *exchange) bool {
	r, no := g.table.decide(ex.asked)
	return no == nil && r.carriesOutAs(ex.route)
}

// Reload puts another policy in force: that of cfg, for the same bottle. Of
// secrets the CA is not taken, and those that are not given stay. On an error
// nothing has changed.
//
// Requests that the new policy allows in the same way go on, and so do their
// streams and WebSockets; all others are cut before Reload returns. What was
// used of a route's budget stays used.
func (p *Proxy) Reload(cfg sidecars.Config, secrets sidecars.Secrets) error {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	if cfg.Bottle != p.bottle {
		return fmt.Errorf("egress: the configuration is for bottle %.80q and this proxy serves %s; hand over that of the same bottle", cfg.Bottle, p.bottle)
	}
	if cfg.CACert != "" && cfg.CACert != p.caCert {
		return errors.New("egress: the certificate authority cannot change while the guest trusts it; leave it out")
	}
	next := p.held.with(secrets)
	routes, err := newTable(cfg.Routes, next.tokens)
	if err != nil {
		return fmt.Errorf("egress: %w", err)
	}
	digest, err := policyDigest(cfg.Routes)
	if err != nil {
		return fmt.Errorf("egress: %w", err)
	}
	old := p.current.Load()
	look := old.searches
	if !next.equal(p.held) || !slices.Equal(cfg.Placeholders, old.placeholders) {
		if look, err = newSearches(next, cfg.Placeholders); err != nil {
			return fmt.Errorf("egress: %w", err)
		}
	}
	p.journal.ledger.Policy(digest) // nothing can fail any more
	p.held = next
	cut := p.running.change(func() *generation {
		g := p.newGeneration(routes, cfg.Placeholders, look)
		p.current.Store(g)
		return g
	})
	for _, ex := range cut {
		ex.ending.end(revoked(ex.d.Rule))
	}
	old.retire()
	p.running.awaitEnd(cutWait)
	return nil
}

func revoked(rule string) *refusal {
	return &refusal{Status: http.StatusForbidden, Layer: layerHost, Reason: reasonRevoked, Rule: rule,
		Message: "The route that allowed this request was taken away or changed while it was carried out.",
		Ask:     "Read http://" + localHost + "/allowlist for what is allowed now, or ask the operator."}
}

// runningSet holds the exchanges that were allowed and are not over. The zero
// value is ready to use.
type runningSet struct {
	mu  sync.Mutex
	all map[*exchange]struct{}
	// cut are those of all that may not go on; over is closed when the last of
	// them is gone. Policies are changed one after the other.
	cut  map[*exchange]struct{}
	over chan struct{}
}

// add registers an exchange that g allowed; false means that another policy is
// in force by now.
func (s *runningSet) add(ex *exchange, g *generation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ex.p.current.Load() != g {
		return false
	}
	if s.all == nil {
		s.all = map[*exchange]struct{}{}
	}
	s.all[ex] = struct{}{}
	return true
}

func (s *runningSet) remove(ex *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, ex)
	if _, waited := s.cut[ex]; waited {
		if delete(s.cut, ex); len(s.cut) == 0 {
			close(s.over)
		}
	}
}

// change puts a policy in force and returns the exchanges that may not go on
// under it. No exchange begins meanwhile.
func (s *runningSet) change(put func() *generation) []*exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := put()
	s.cut, s.over = map[*exchange]struct{}{}, make(chan struct{})
	for ex := range s.all {
		if !next.keeps(ex) {
			s.cut[ex] = struct{}{}
		}
	}
	if len(s.cut) == 0 {
		close(s.over)
	}
	return slices.Collect(maps.Keys(s.cut))
}

// awaitEnd returns when nothing that was cut runs any more, or after a while.
func (s *runningSet) awaitEnd(within time.Duration) {
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	}
}
