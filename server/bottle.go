package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// BottleInstructions is what hosts put before a model in a bottle that may launch
// bottles.
const BottleInstructions = `You work in a bottle, and these tools launch more of them: isolated, disposable machines, each for one task that you hand out. ` +
	`They are yours alone, may do no more than your own bottle may, count against its limits, and end with it.
Where a tool speaks of the host, it means your own file system: cp and workspace copy between it and a bottle of yours.
A bottle that names no agent and no bottle file is like your own. Give it less where the task needs less: only_hosts, limits, ttl.
` + Instructions

// BottleLimits are those of a server for one bottle: what a guest can make this
// process hold is a fraction of what the operator may.
func BottleLimits() Limits {
	return Limits{MaxMessage: 2 << 20, MaxResult: 2 << 20, CallsPerTool: 16}
}

// What one bottle may have open at a time.
const (
	bottleRequests = 64
	bottleSessions = 16
	bottleIdle     = time.Hour
	bottleDrain    = time.Second
)

// BottleConfig says which bottle is served at a socket.
type BottleConfig struct {
	// Listener is the bottle's own socket, closed at the end.
	Listener net.Listener
	// Bottle is who calls, whatever a call says.
	Bottle backend.ID
	// Token is the SHA-256 of the token that the bottle's sidecar has. It is good
	// at this listener and nowhere else.
	Token [sha256.Size]byte
}

// ServeBottle serves one bottle until ctx ends. Its calls are cancelled then.
func (s *Server) ServeBottle(ctx context.Context, cfg BottleConfig) error {
	if cfg.Listener == nil || cfg.Bottle.Validate() != nil || cfg.Token == ([sha256.Size]byte{}) {
		return errors.New("a bottle is served with a listener, an id and the digest of a token; give all three")
	}
	e := &endpoint{
		server: s, who: provision.Principal{Kind: provision.Guest, Bottle: string(cfg.Bottle)},
		sessions: newSessions(bottleSessions, bottleIdle), maxBody: int64(s.limits.MaxMessage),
	}
	gate := &bottleGate{next: newTurnstile(bottleRequests, e), token: cfg.Token}
	return s.serveWeb(ctx, website{listener: cfg.Listener, gate: gate, endpoint: e, drain: bottleDrain})
}

// bottleGate lets in what the bottle's sidecar sends, and nothing else: whatever
// else of this machine finds the socket has no token.
type bottleGate struct {
	next  http.Handler
	token [sha256.Size]byte
}

// ServeHTTP implements http.Handler.
func (g *bottleGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case !bears(r, g.token):
		http.Error(w, "this is the socket of one bottle, and its sidecar's token is needed", http.StatusUnauthorized)
	case r.Host != sidecars.BottlesHost || len(r.Header["Origin"]) > 0:
		http.Error(w, "only the bottle's sidecar is served here", http.StatusForbidden)
	case r.RequestURI != sidecars.BottlesPath:
		http.Error(w, "nothing is here; the endpoint is "+sidecars.BottlesPath, http.StatusNotFound)
	default:
		g.next.ServeHTTP(w, r)
	}
}
