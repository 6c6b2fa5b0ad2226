package provision

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// fakeGuests serve nothing and remember whom.
type fakeGuests struct {
	mu   sync.Mutex
	live map[backend.ID]GuestEndpoint
}

func newFakeGuests() *fakeGuests { return &fakeGuests{live: map[backend.ID]GuestEndpoint{}} }

func (g *fakeGuests) serve(ctx context.Context, e GuestEndpoint) error {
	g.mu.Lock()
	g.live[e.Bottle] = e
	g.mu.Unlock()
	<-ctx.Done()
	g.mu.Lock()
	delete(g.live, e.Bottle)
	g.mu.Unlock()
	return e.Listener.Close()
}

func (g *fakeGuests) of(id backend.ID) (GuestEndpoint, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e, ok := g.live[id]
	return e, ok
}

func (g *fakeGuests) await(t *testing.T, id backend.ID, want bool) GuestEndpoint {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		e, ok := g.of(id)
		if ok == want {
			return e
		}
		if time.Now().After(end) {
			t.Fatalf("bottle %s: served %v, want %v", id, ok, want)
		}
	}
}

const parentFront = "sub_bottles: {max: 3, depth: 1}"

// launchParent launches a bottle that may launch others.
func (b *bed) launchParent(id backend.ID) *Bottle {
	b.t.Helper()
	b.bottleFile("parent", parentFront)
	plan, err := b.Plan(b.t.Context(), LaunchRequest{Bottles: []string{"parent"}, ID: id, Principal: operator})
	if err != nil {
		b.t.Fatal(err)
	}
	if !slices.Contains(plan.Steps, "serve-bottle") || !slices.Contains(plan.EnvNames, "BOTTLE_MCP_URL") {
		b.t.Errorf("the plan says nothing of it: steps %q, variables %q", plan.Steps, plan.EnvNames)
	}
	bottle, err := b.Launch(b.t.Context(), plan, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return bottle
}

// TestServesItsGuest has a launched bottle served at its own socket, known by a
// token that no file on the host holds.
func TestServesItsGuest(t *testing.T) {
	b := newBed(t)
	bottle := b.launchParent("parent")
	e := b.guests.await(t, "parent", true)
	spec := b.fake.bottles["parent"].sidecar
	token := spec.Secrets.BottlesToken.Reveal()
	if len(token) < 40 || sha256.Sum256([]byte(token)) != e.Token {
		t.Errorf("the sidecar's token has %d bytes, or is not the one that is served", len(token))
	}
	if spec.HostSocket != e.Listener.Addr().String() || spec.HostSocket != b.store.SocketPath("parent") {
		t.Errorf("the sidecar leads to %s, and %s is served", spec.HostSocket, e.Listener.Addr())
	}
	if env := b.fake.bottles["parent"].agent.Env; !slices.Contains(env, "BOTTLE_MCP_URL=http://127.0.0.1:9101/mcp") || bottle.Endpoints.Bottles == "" {
		t.Errorf("environment %q", env)
	}
	if strings.Contains(strings.Join(b.fake.bottles["parent"].agent.Env, " "), token) {
		t.Error("the guest is given the token")
	}
	found := false
	err := filepath.WalkDir(b.store.Path(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), token) {
			t.Errorf("%s holds the token", path)
		}
		found = found || strings.Contains(string(data), hex.EncodeToString(e.Token[:]))
		return err
	})
	if err != nil || !found {
		t.Errorf("no record holds the token's digest, %v", err)
	}
	b.cleanup("parent")
	b.guests.await(t, "parent", false)
	if _, err := os.Lstat(filepath.Dir(spec.HostSocket)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket's directory stays: %v", err)
	}
}

func (b *bed) cleanup(id backend.ID) {
	b.t.Helper()
	items, err := b.Cleanup(b.t.Context(), CleanupRequest{IDs: []backend.ID{id}, Principal: operator}, nil)
	if err != nil || len(items) != 1 || !items[0].Done {
		b.t.Fatalf("%+v, %v", items, err)
	}
}

// TestServesNobodyElse has a bottle that may launch none not be served.
func TestServesNobodyElse(t *testing.T) {
	b := newBed(t)
	plan, err := b.Plan(t.Context(), LaunchRequest{ID: "plain", Principal: operator})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Launch(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	spec := b.fake.bottles["plain"].sidecar
	if slices.Contains(spec.Services, sidecars.Bottles) || spec.HostSocket != "" || !spec.Secrets.BottlesToken.Empty() || slices.Contains(plan.Steps, "serve-bottle") {
		t.Errorf("%+v", spec)
	}
	if err := b.adopt(t.Context()); err != nil {
		t.Error(err)
	}
	if e, ok := b.guests.of("plain"); ok {
		t.Errorf("it is served: %+v", e)
	}
	b.Manager.cfg.ServeGuest = nil
	b.bottleFile("parent", parentFront)
	if _, err := b.Plan(t.Context(), LaunchRequest{Bottles: []string{"parent"}, Principal: operator}); err == nil || !strings.Contains(err.Error(), "serves no bottles") {
		t.Errorf("by a program that serves none: %v", err)
	}
}

// TestServingIsUndone has a launch that fails leave no socket and no server.
func TestServingIsUndone(t *testing.T) {
	for _, method := range []string{"StartSidecar", "StartAgent"} {
		t.Run(method, func(t *testing.T) {
			b := newBed(t)
			b.bottleFile("parent", parentFront)
			b.fake.fail[method] = errors.New("on purpose")
			plan, err := b.Plan(t.Context(), LaunchRequest{Bottles: []string{"parent"}, ID: "parent", Principal: operator})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Launch(t.Context(), plan, nil); err == nil {
				t.Fatal("it launches")
			}
			if b.Manager.guests.serving("parent") {
				t.Error("it is served")
			}
			if _, err := os.Lstat(filepath.Dir(b.store.SocketPath("parent"))); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket's directory stays: %v", err)
			}
		})
	}
}

// TestTakesOver has a server take over a bottle whose own has ended, and let go
// of it when another process removes it.
func TestTakesOver(t *testing.T) {
	b := newBed(t)
	b.launchParent("parent")
	first := b.guests.await(t, "parent", true)
	next := newFakeGuests()
	takes := b.manager(openStore(t, b.store.Path()))
	takes.guests.serve = next.serve
	look := func(m *Manager) {
		t.Helper()
		if err := m.adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	look(takes)
	if _, ok := next.of("parent"); ok {
		t.Fatal("two servers have one bottle")
	}
	look(b.Manager) // its own bottles are left alone
	if err := b.Manager.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.guests.of("parent"); ok {
		t.Fatal("a manager that was closed serves on")
	}
	look(takes)
	if e := next.await(t, "parent", true); e.Token != first.Token || e.Listener.Addr().String() != b.store.SocketPath("parent") {
		t.Errorf("it serves %+v, and the bottle was told of %+v", e, first)
	}
	look(b.Manager) // closed: it takes nothing again
	other := b.manager(openStore(t, b.store.Path()))
	if _, err := other.Cleanup(t.Context(), CleanupRequest{IDs: []backend.ID{"parent"}, Principal: operator}, nil); err != nil {
		t.Fatal(err)
	}
	look(takes)
	next.await(t, "parent", false)
	if _, err := b.launchAgain("parent"); !errors.Is(err, errNotServing) {
		t.Errorf("a manager that was closed launches a bottle that it cannot serve: %v", err)
	}
}

func (b *bed) launchAgain(id backend.ID) (*Bottle, error) {
	b.t.Helper()
	plan, err := b.Plan(b.t.Context(), LaunchRequest{Bottles: []string{"parent"}, ID: id, Principal: operator})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.Launch(b.t.Context(), plan, nil)
}

// TestExpiredIsServedNoMore has the time end a bottle's calls, and a record
// without a digest not be served.
func TestExpiredIsServedNoMore(t *testing.T) {
	b := newBed(t)
	bottle := b.launchParent("parent")
	b.guests.await(t, "parent", true)
	b.Manager.cfg.Now = func() time.Time { return bottle.Expires.Add(time.Second) }
	if err := b.adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.guests.await(t, "parent", false)
	for _, digest := range []string{"", "00", "no hex"} {
		raw, err := detail{GuestToken: digest}.encode()
		if err != nil {
			t.Fatal(err)
		}
		b.adoptOne(t.Context(), state.Record{ID: "other", Detail: raw})
		if b.Manager.guests.serving("other") {
			t.Errorf("a record with the digest %q is served", digest)
		}
	}
}

// TestServeGuests has the look happen without being asked for.
func TestServeGuests(t *testing.T) {
	b := newBed(t)
	b.launchParent("parent")
	b.guests.await(t, "parent", true)
	if err := b.Manager.Close(); err != nil {
		t.Fatal(err)
	}
	next := newFakeGuests()
	takes := b.manager(openStore(t, b.store.Path()))
	takes.guests.serve = next.serve
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { takes.ServeGuests(ctx); close(ended) }()
	next.await(t, "parent", true)
	cancel()
	<-ended
	if err := takes.Close(); err != nil {
		t.Fatal(err)
	}
	next.await(t, "parent", false)
}
