package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

const (
	maxStreams      = 100 // HTTP/2 streams on one connection
	idlePerHost     = 64  // idle connections kept to one upstream
	idleUpstream    = 256 // and to all of them
	upstreamKeep    = time.Minute
	maxResponseHead = 256 << 10
	maxUnread       = 256 << 10       // of request bodies, on one HTTP/2 connection
	continueWait    = 2 * time.Second // for an upstream that ignores Expect
)

// Options are what a Proxy needs beside its policy. Only Ledger or Log is
// required.
type Options struct {
	// Ledger records every finished request and refusal. It is started and
	// closed by whoever made it, see LedgerOptions. While it cannot be written,
	// requests are refused.
	Ledger *ledger.Ledger
	// Log takes the lines of a ledger of the proxy's own when there is no Ledger.
	Log io.Writer
	// Resolver resolves the names of upstreams. Default: the system's
	// configuration, without search domains and without cgo.
	Resolver Resolver
	// RootCAs verify upstreams. Default: the system's roots.
	RootCAs *x509.CertPool
	// Dial opens a connection to a literal address that has been classified.
	// Default: a net.Dialer that checks the address once more. For tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Interfaces lists this machine's addresses, which may not be dialled.
	// Default: net.InterfaceAddrs. For tests.
	Interfaces func() ([]net.Addr, error)
	// Hold asks the operator about a request in which something was found, where
	// the route says so, and reports whether it may pass. nil refuses at once.
	Hold func(context.Context, Proposal) (bool, error)
	// Limits bound what the guest can make the proxy hold.
	Limits Limits
}

// Proxy is the egress proxy of one bottle. It serves one listener, once.
type Proxy struct {
	bottle   string
	caCert   string
	minter   *ca.Minter
	out      *outbound
	journal  *journal
	limits   Limits
	guestTLS *tls.Config
	live     connSet
	inner    *handoff // intercepted connections with HTTP/1
	innerH2  *handoff // and with HTTP/2
	buffers  buffers
	roots    *x509.CertPool
	warmed   atomic.Bool
	served   atomic.Bool

	current   atomic.Pointer[generation]
	running   runningSet
	reloading sync.Mutex // held while a policy is put in force
	held      held
	hold      func(context.Context, Proposal) (bool, error)
	scanned   budgetOfMemory
	meters    meters
}

// New validates the whole configuration and returns a proxy ready to Serve. It
// opens no connection and reads no file.
func New(cfg sidecars.Config, secrets sidecars.Secrets, opts Options) (*Proxy, error) {
	if cfg.Bottle == "" {
		return nil, errors.New("egress: the configuration names no bottle; set bottle")
	}
	records, err := newJournal(cfg, opts)
	if err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	routes, err := newTable(cfg.Routes, secrets.Tokens)
	if err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	minter, err := ca.NewMinter([]byte(cfg.CACert), secrets.CAKey)
	if err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	h := newHeld(secrets)
	look, err := newSearches(h, cfg.Placeholders)
	if err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	p := &Proxy{
		bottle:  cfg.Bottle,
		caCert:  cfg.CACert,
		minter:  minter,
		journal: records,
		limits:  opts.Limits.withDefaults(),
		inner:   newHandoff(),
		innerH2: newHandoff(),
		roots:   opts.RootCAs,
		held:    h,
		hold:    opts.Hold,
		meters:  meters{},
	}
	p.out = newOutbound(opts, p.limits)
	p.guestTLS = p.newGuestTLS()
	p.current.Store(p.newGeneration(routes, cfg.Placeholders, look))
	return p, nil
}

func newOutbound(opts Options, limits Limits) *outbound {
	o := &outbound{
		classes:    newClassifier(),
		resolver:   opts.Resolver,
		dial:       opts.Dial,
		interfaces: opts.Interfaces,
		resolveIn:  limits.Resolve,
		connectIn:  limits.Connect,
	}
	if o.resolver == nil {
		o.resolver = rootedResolver{&net.Resolver{PreferGo: true}}
	}
	if o.dial == nil {
		o.dial = newDialer()
	}
	if o.interfaces == nil {
		o.interfaces = net.InterfaceAddrs
	}
	return o
}

func (p *Proxy) newServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler:                      p,
		ReadHeaderTimeout:            p.limits.Head,
		IdleTimeout:                  p.limits.KeepAlive,
		MaxHeaderBytes:               p.limits.HeadBytes,
		DisableGeneralOptionsHandler: true,
		Protocols:                    protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerConnection: maxUnread,
			MaxReceiveBufferPerStream:     maxUnread,
			// A client that reads nothing would hold its connection for good.
			WriteByteTimeout: p.limits.Idle,
		},
		ConnContext: withSession,
		// What net/http would print holds nothing the journal does not, and
		// may quote what the guest sent.
		ErrorLog: log.New(io.Discard, "", 0),
	}
}

// newServerH2 is for connections that speak HTTP/2 from their first byte.
func (p *Proxy) newServerH2() *http.Server {
	srv := p.newServer()
	idle := &idleConns{limit: p.limits.KeepAlive}
	srv.IdleTimeout, srv.ConnState = 0, idle.changed
	return srv
}

// Serve accepts the guest's connections from l until ctx ends, then lets
// requests in progress finish for a moment and closes everything. It returns
// nil after ctx ended. It may be called once.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	if p.served.Swap(true) {
		return errors.New("egress: this proxy has served already; make a new one")
	}
	if err := p.journal.start(); err != nil {
		return fmt.Errorf("egress: %w", err)
	}
	srv, srvH2 := p.newServer(), p.newServerH2()
	outer := newGate(l, p)
	ended := make(chan error, 3)
	var servers sync.WaitGroup
	servers.Go(func() { ended <- srv.Serve(outer) })
	servers.Go(func() { ended <- srv.Serve(p.inner) })
	servers.Go(func() { ended <- srvH2.Serve(p.innerH2) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
		err = fmt.Errorf("egress: accept connections: %w", err)
	}
	stopErr := p.stop(outer, srv, srvH2)
	servers.Wait()
	return errors.Join(err, stopErr)
}

// Abort closes every connection of the guest. A Serve that has been told to end
// and waits for requests in progress then ends at once.
func (p *Proxy) Abort() { p.live.closeAll() }

func (p *Proxy) stop(outer *gate, servers ...*http.Server) error {
	_ = outer.Close()
	ctx, cancel := context.WithTimeout(context.Background(), p.limits.Stop)
	defer cancel()
	var down sync.WaitGroup
	for _, srv := range servers {
		down.Go(func() { _ = srv.Shutdown(ctx) }) // its error is the deadline; Close follows
	}
	down.Wait()
	_ = p.inner.Close()
	_ = p.innerH2.Close()
	p.live.closeAll() // before Close of the servers, whose closing may linger
	for _, srv := range servers {
		_ = srv.Close()
	}
	p.live.wait(ctx)
	p.current.Load().retire()
	return p.journal.close()
}

// warmRoots loads the system's roots beside the first handshake with the
// guest instead of after it. A proxy that is never asked never loads them.
func (p *Proxy) warmRoots() {
	if p.roots == nil && !p.warmed.Swap(true) {
		go func() { _, _ = x509.SystemCertPool() }()
	}
}
