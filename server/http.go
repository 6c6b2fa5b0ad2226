package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// Endpoint is the path that serves the protocol over HTTP.
const Endpoint = "/mcp"

// HTTPConfig says where and for whom to serve HTTP. Zero fields take the
// defaults named with them.
type HTTPConfig struct {
	// Listener to serve on, closed at the end; nil means one for Addr.
	Listener net.Listener
	Addr     string
	// AllowRemote permits an address that other machines reach. Set it only
	// when the operator named the token file (see CheckBind).
	AllowRemote bool
	// Token that every request must bear.
	Token secret.Value
	// AllowedOrigins are browser origins beside those of this machine, such as
	// https://agents.example. AllowedHosts are values of Host, with or without
	// port, beside loopback names and the address a connection came to.
	AllowedOrigins []string
	AllowedHosts   []string
	MaxBody        int64 // bytes of a request (Limits.MaxMessage)
	// MaxConcurrent requests at once (1024). It stays above what all tools
	// together may run (Limits.CallsPerTool), so that pings and cancels pass.
	MaxConcurrent int
	MaxSessions   int           // sessions at once (1024)
	SessionIdle   time.Duration // a session without a running call ends after it (24 h)
	DrainTimeout  time.Duration // running calls may finish within it at a stop (10 s)
	// Ready, if set, is told the address once connections are accepted.
	Ready func(net.Addr)
}

func (c HTTPConfig) withDefaults(l Limits) HTTPConfig {
	defaultTo(&c.MaxBody, int64(l.MaxMessage))
	defaultTo(&c.MaxConcurrent, 1024)
	defaultTo(&c.MaxSessions, 1024)
	defaultTo(&c.SessionIdle, 24*time.Hour)
	defaultTo(&c.DrainTimeout, 10*time.Second)
	return c
}

// ServeHTTP serves clients until ctx ends. Then it accepts no more, lets
// running calls finish within DrainTimeout, cancels what is left and gives that
// StopTimeout to return. It returns an error when it could not serve, or when
// calls ignored the cancel.
func (s *Server) ServeHTTP(ctx context.Context, cfg HTTPConfig) error {
	cfg = cfg.withDefaults(s.limits)
	listener, err := cfg.listen(ctx)
	if err != nil {
		return err
	}
	e := &endpoint{
		server: s, who: provision.Principal{Kind: provision.Operator},
		sessions: newSessions(cfg.MaxSessions, cfg.SessionIdle), maxBody: cfg.MaxBody,
	}
	return s.serveWeb(ctx, website{listener: listener, gate: newGate(cfg, e), endpoint: e, drain: cfg.DrainTimeout, ready: cfg.Ready})
}

// website is an endpoint behind its gate, at a listener.
type website struct {
	listener net.Listener
	gate     http.Handler
	endpoint *endpoint
	drain    time.Duration
	ready    func(net.Addr) // nil = nobody wants to know
}

// serveWeb serves until ctx ends, and drains.
func (s *Server) serveWeb(ctx context.Context, site website) error {
	calls, cancelCalls := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelCalls(errStopping)
	web := &http.Server{
		Handler: site.gate,
		// No WriteTimeout: calls may take hours. Each write has its own.
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		BaseContext:       func(net.Listener) context.Context { return calls },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(site.listener) }()
	if site.ready != nil {
		site.ready(site.listener.Addr())
	}
	select {
	case err := <-served:
		return fmt.Errorf("cannot serve HTTP on %s: %w", site.listener.Addr(), err)
	case <-ctx.Done():
	}
	return s.drain(web, site.endpoint, drainPlan{timeout: site.drain, cancel: cancelCalls})
}

// listen checks what must hold before a port is open.
func (c HTTPConfig) listen(ctx context.Context) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		if c.Listener != nil {
			_ = c.Listener.Close() // ours to close, and the first error counts
		}
		return nil, err
	}
	if c.Token.Empty() {
		return fail(errors.New("refusing to serve HTTP without a bearer token; create one first"))
	}
	addr := c.Addr
	if c.Listener != nil {
		addr = c.Listener.Addr().String()
	}
	if err := CheckBind(addr, c.AllowRemote); err != nil {
		return fail(err)
	}
	if c.Listener != nil {
		return c.Listener, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s, choose another port or stop what uses it: %w", addr, err)
	}
	return listener, nil
}

// drainPlan is how a stop treats running calls.
type drainPlan struct {
	timeout time.Duration
	cancel  context.CancelCauseFunc
}

func (s *Server) drain(web *http.Server, e *endpoint, plan drainPlan) error {
	err := shutdown(web, plan.timeout)
	plan.cancel(errStopping)
	if err != nil && shutdown(web, s.limits.StopTimeout) != nil {
		_ = web.Close() // what is left is what Shutdown gave up on
	}
	// Calls whose clients have left are not Shutdown's: wait for them too.
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.StopTimeout)
	defer cancel()
	if left := e.running.wait(ctx); left > 0 {
		return fmt.Errorf("%d calls did not stop within %s of being cancelled; what they started may be left, run cleanup", left, s.limits.StopTimeout)
	}
	return nil
}

func shutdown(web *http.Server, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return web.Shutdown(ctx)
}
