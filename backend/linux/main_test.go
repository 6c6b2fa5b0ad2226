//go:build linux

package linux

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/backendtest/ask"
	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
)

// init keeps the main goroutine on the main thread, as it is where the product
// starts these processes: what /proc says of a process it says of that thread.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // see above

// TestMain makes the test program what bottles start: shim, PID 1, sidecar,
// and the helpers inside a guest.
func TestMain(m *testing.M) {
	args := os.Args[1:]
	if handled, code := Hidden(args); handled {
		os.Exit(code)
	}
	if len(args) == 2 && args[0] == "guest" && args[1] == "selftest" {
		os.Exit(selftest.GuestMain(context.Background(), os.Stdin, os.Stdout))
	}
	if len(args) >= 2 && args[0] == "guest" && args[1] == "ask" {
		os.Exit(ask.Main(context.Background(), args[2:], ask.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	os.Exit(m.Run())
}

// newBackend returns a backend with a state directory of its own, and skips
// nothing: a host that cannot run bottles fails the test.
func newBackend(t *testing.T) *Backend {
	t.Helper()
	b := New(Config{BottlesDir: t.TempDir(), Owner: "test-" + t.Name()})
	if _, err := b.Check(t.Context()); err != nil {
		t.Fatalf("this host cannot run bottles: %v", err)
	}
	return b
}

// start launches a bottle without routes and removes it with the test.
func start(t *testing.T, b *Backend, id backend.ID) {
	t.Helper()
	startSidecar(t, b, sidecarSpec(t, b, id))
	startAgent(t, b, id)
}

func startAgent(t *testing.T, b *Backend, id backend.ID) {
	t.Helper()
	_, err := b.StartAgent(t.Context(), backend.AgentSpec{ID: id, Env: []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + backend.AgentHome,
	}})
	if err != nil {
		t.Fatalf("StartAgent: %v", err)
	}
}

// sidecarSpec is a bottle's sidecar without routes, for a minute.
func sidecarSpec(t *testing.T, b *Backend, id backend.ID) backend.SidecarSpec {
	t.Helper()
	cert, key, err := ca.NewAuthority(string(id), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return backend.SidecarSpec{
		ID: id, Owner: b.cfg.Owner, Services: []sidecars.Service{sidecars.Egress},
		Config:  sidecars.Config{Bottle: string(id), Routes: []sidecars.Route{}, CACert: string(cert)},
		Secrets: sidecars.Secrets{CAKey: key}, Expires: time.Now().Add(time.Minute),
	}
}

// startSidecar starts a sidecar that is removed with the test.
func startSidecar(t *testing.T, b *Backend, spec backend.SidecarSpec) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.Remove(ctx, spec.ID); err != nil {
			t.Errorf("Remove: %v", err)
		}
	})
	if _, err := b.StartSidecar(t.Context(), spec); err != nil {
		t.Fatalf("StartSidecar: %v", err)
	}
}
