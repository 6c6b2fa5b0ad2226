package bottles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"sync/atomic"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// Options are what a Relay needs beside configuration and token.
type Options struct {
	// Dial opens a connection to the host's MCP server, and to nothing else. An
	// error means that nobody listens there.
	Dial   func(ctx context.Context) (net.Conn, error)
	Limits Limits
	// Log is told what the guest is not: why the server cannot be reached. nil =
	// nobody is.
	Log *slog.Logger
}

// Relay is the daemon of one bottle. It serves one listener, once.
type Relay struct {
	bottle   string
	token    secret.Value
	limits   Limits
	log      *slog.Logger
	proxy    *httputil.ReverseProxy
	upstream upstream
	slots    chan struct{}
	server   *http.Server
	served   atomic.Bool
}

// New returns a relay ready to Serve. It opens no connection.
func New(cfg sidecars.Config, secrets sidecars.Secrets, o Options) (*Relay, error) {
	switch {
	case cfg.Bottle == "":
		return nil, errors.New("bottles: the configuration names no bottle; set bottle")
	case secrets.BottlesToken.Empty():
		return nil, errors.New("bottles: the bottle has no token for the host's MCP server; launch it by a server that gives it one")
	case o.Dial == nil:
		return nil, errors.New("bottles: there is no way to the host's MCP server; pass one")
	}
	r := &Relay{bottle: cfg.Bottle, token: secrets.BottlesToken, limits: o.Limits.withDefaults(), log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
	r.slots = make(chan struct{}, r.limits.Requests)
	r.upstream = upstream{r.newTransport(o.Dial)}
	r.proxy = r.newProxy()
	r.server = r.newServer()
	return r, nil
}

// newTransport has no proxy and no name to look up: every request is a new
// connection to the one socket, so that none waits in vain for a server that
// was started again.
func (r *Relay) newTransport(dial func(context.Context) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, r.limits.Dial)
			defer cancel()
			return dial(ctx)
		},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: int64(r.limits.HeadBytes),
	}
}

// upstream tells a server that is not there from one that fails.
type upstream struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (u upstream) RoundTrip(req *http.Request) (*http.Response, error) {
	var answered atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotFirstResponseByte: func() { answered.Store(true) },
	})
	resp, err := u.Transport.RoundTrip(req.WithContext(ctx))
	if err != nil && !answered.Load() && req.Context().Err() == nil {
		return nil, &unreachableError{err}
	}
	return resp, err
}

func (r *Relay) newServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           r,
		ReadHeaderTimeout: r.limits.Head,
		IdleTimeout:       r.limits.KeepAlive,
		MaxHeaderBytes:    r.limits.HeadBytes,
		Protocols:         protocols,
		// "OPTIONS *" is not answered behind our back.
		DisableGeneralOptionsHandler: true,
		// What net/http would print may quote what the guest sent.
		ErrorLog: discard(),
	}
}

func discard() *log.Logger { return log.New(io.Discard, "", 0) }

// Serve accepts the guest's connections from l until ctx ends, then lets requests
// at work finish for a moment and closes everything. It returns nil after ctx
// ended. It may be called once.
func (r *Relay) Serve(ctx context.Context, l net.Listener) error {
	if r.served.Swap(true) {
		return errors.New("bottles: this relay has served already; make a new one")
	}
	ended := make(chan error, 1)
	go func() { ended <- r.server.Serve(newBounded(l, r.limits.Connections)) }()
	select {
	case <-ctx.Done():
	case err := <-ended:
		return fmt.Errorf("bottles: accept connections: %w", err)
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.limits.Stop)
	defer cancel()
	_ = r.server.Shutdown(stopping) // its error is the deadline; Abort follows
	r.Abort()
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("bottles: accept connections: %w", err)
	}
	return nil
}

// Abort closes every connection. A Serve that has been told to end and waits for
// requests at work then ends at once.
func (r *Relay) Abort() {
	_ = r.server.Close()
}
