package provision

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const (
	// guestToken is the length of a bottle's token in random bytes.
	guestToken = 32
	// adoptEvery is how often a server looks for bottles whose server has gone, and
	// for those of its own that have ended.
	adoptEvery = 2 * time.Second
	// guestStop bounds the wait for a bottle's server to end.
	guestStop = 5 * time.Second
)

// GuestEndpoint is where one bottle calls, and how it proves itself.
type GuestEndpoint struct {
	Bottle backend.ID
	// Token is the SHA-256 of the token that the bottle's sidecar has.
	Token [sha256.Size]byte
	// Listener is the bottle's own. Whoever serves it closes it.
	Listener net.Listener
}

// ServeGuest answers the calls of one bottle until ctx ends.
type ServeGuest func(ctx context.Context, e GuestEndpoint) error

// guests are the bottles that this process serves.
type guests struct {
	serve ServeGuest
	log   *slog.Logger

	mu     sync.Mutex
	live   map[backend.ID]*guestServer
	closed bool
}

// guestServer is one of them.
type guestServer struct {
	bottle *parentRef
	cancel context.CancelFunc
	done   chan struct{}
}

func newGuests(serve ServeGuest, log *slog.Logger) *guests {
	return &guests{serve: serve, log: log, live: map[backend.ID]*guestServer{}}
}

// errNotServing means that this process serves no bottles any more.
var errNotServing = errors.New("this program is about to end and serves no more bottles")

// start serves a bottle, in the background.
func (g *guests) start(bottle *parentRef, e GuestEndpoint) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errors.Join(errNotServing, e.Listener.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &guestServer{bottle: bottle, cancel: cancel, done: make(chan struct{})}
	g.live[e.Bottle] = s
	go func() {
		defer close(s.done)
		defer cancel()
		if err := g.serve(ctx, e); err != nil {
			g.log.Warn("a bottle's calls are served no more", "bottle", e.Bottle, "error", err)
		}
		_ = e.Listener.Close() // also where serving never began
		g.forget(e.Bottle, s)
	}()
	return nil
}

// forget lets a bottle be served again.
func (g *guests) forget(id backend.ID, s *guestServer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.live[id] == s {
		delete(g.live, id)
	}
}

// serving reports whether this process serves the bottle.
func (g *guests) serving(id backend.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.live[id] != nil
}

// served are the bottles that this process serves now.
func (g *guests) served() map[backend.ID]*parentRef {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make(map[backend.ID]*parentRef, len(g.live))
	for id, s := range g.live {
		out[id] = s.bottle
	}
	return out
}

// stop ends the serving of the bottles that match, their calls with it.
func (g *guests) stop(match func(backend.ID, *parentRef) bool) {
	g.mu.Lock()
	var ending []*guestServer
	for id, s := range g.live {
		if match(id, s.bottle) {
			ending = append(ending, s)
			s.cancel()
		}
	}
	g.mu.Unlock()
	timeout := time.After(guestStop)
	for _, s := range ending {
		select {
		case <-s.done:
		case <-timeout:
			g.log.Warn("calls of a bottle do not end", "bottle", s.bottle.ID)
			return
		}
	}
}

func (g *guests) stopOne(id backend.ID) {
	g.stop(func(other backend.ID, _ *parentRef) bool { return other == id })
}

// close stops all, and serves no more.
func (g *guests) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.stop(func(backend.ID, *parentRef) bool { return true })
}

// Close ends what this process serves to bottles. The bottles go on.
func (m *Manager) Close() error {
	m.guests.close()
	return nil
}

// leads reports whether the bottle is to reach its server.
func (p *Plan) leads() bool { return slices.Contains(p.Services, sidecars.Bottles) }

// serveBottle listens for the bottle's sidecar and makes the token that it will be
// known by. Only the token's digest is kept.
func serveBottle(ctx context.Context, l *launch) (string, error) {
	raw := make([]byte, guestToken)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("make the bottle's token: %w", err)
	}
	token := base64.RawURLEncoding.EncodeToString(raw)
	digest := sha256.Sum256([]byte(token))
	socket, err := l.m.cfg.State.Listen(ctx, l.plan.ID)
	if err != nil {
		return "", err
	}
	err = l.m.guests.start(refOf(l.record), GuestEndpoint{Bottle: l.plan.ID, Token: digest, Listener: socket})
	if err != nil {
		return "", err
	}
	l.secrets.BottlesToken = secret.New(token)
	l.detail.GuestToken = hex.EncodeToString(digest[:])
	return fmt.Sprintf("up to %d bottles", l.r.subBottles.Max), nil
}

func stopServing(_ context.Context, l *launch) error {
	l.m.guests.stopOne(l.plan.ID)
	return l.m.cfg.State.RemoveSocket(l.plan.ID)
}

// ServeGuests serves, until ctx ends, every bottle of the store that may launch
// bottles and whose own server has gone, and ends what bottles that have gone had
// here. Of several servers one has a bottle.
func (m *Manager) ServeGuests(ctx context.Context) {
	if m.cfg.ServeGuest == nil {
		return
	}
	tick := time.NewTicker(adoptEvery)
	defer tick.Stop()
	for {
		if err := m.adopt(ctx); err != nil && ctx.Err() == nil {
			m.log.Warn("bottles whose server has gone cannot be looked for", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// adopt is one look.
func (m *Manager) adopt(ctx context.Context) error {
	before := m.guests.served() // a bottle that is launched now may be too new for the list
	entries, err := m.cfg.State.List()
	if err != nil {
		return err
	}
	alive := map[backend.ID]*parentRef{}
	for _, e := range entries {
		r := e.Record
		if e.Err != nil {
			continue
		}
		if r.Phase != state.Removing && m.cfg.Now().Before(r.Expires) {
			alive[r.ID] = refOf(r)
		}
		if r.Phase == state.Ready && alive[r.ID] != nil && !m.guests.serving(r.ID) {
			m.adoptOne(ctx, r)
		}
	}
	m.guests.stop(func(id backend.ID, bottle *parentRef) bool {
		return bottle.same(before[id]) && !bottle.same(alive[id])
	})
	return nil
}

// adoptOne serves a bottle unless somebody else does, or it needs no server.
func (m *Manager) adoptOne(ctx context.Context, r state.Record) {
	d, err := decodeDetail(r.Detail)
	if err != nil || d.GuestToken == "" {
		return
	}
	token, err := hex.DecodeString(d.GuestToken)
	if err != nil || len(token) != sha256.Size {
		m.log.Warn("the record of a bottle holds no digest of its token", "bottle", r.ID)
		return
	}
	socket, err := m.cfg.State.Listen(ctx, r.ID)
	if errors.Is(err, state.ErrBusy) {
		return
	}
	if err == nil {
		err = m.guests.start(refOf(r), GuestEndpoint{Bottle: r.ID, Token: [sha256.Size]byte(token), Listener: socket})
	}
	if err != nil {
		m.log.Warn("a bottle whose server has gone cannot be served", "bottle", r.ID, "error", err)
		return
	}
	m.log.Info("serving a bottle whose server has gone", "bottle", r.ID)
}
