package world

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world/internet"
)

// World is the one that the test process is in. There is one per test binary,
// and its faults, names and logs are the same to all tests: they must not run
// in parallel.
type World struct {
	// Dir is the world's own directory, on a disk.
	Dir string
	// State is the stand-in's state directory.
	State string
	// Bin is the first directory of $PATH: container and the Mac tools.
	Bin string
	// OriginCA is the file (PEM) that a sidecar must trust to reach the
	// Internet's HTTPS origins.
	OriginCA string

	layout layout
}

// New returns the world, its faults cleared, its names and Mac values as at
// the beginning and its logs empty. Without GateEnv it skips the test.
func New(t testing.TB) *World {
	t.Helper()
	if !inside() {
		if os.Getenv(GateEnv) == "1" {
			t.Fatal("the test is not in a world: its package needs a TestMain that calls world.TestMain")
		}
		t.Skip("needs rootful Podman in a world of its own: set " + GateEnv + "=1")
	}
	l, err := current()
	if err != nil {
		t.Fatal(err)
	}
	w := &World{Dir: l.dir, State: l.state(), Bin: l.bin(), OriginCA: l.originCA(), layout: l}
	if err := w.reset(); err != nil {
		t.Fatalf("the world cannot be reset: %v", err)
	}
	return w
}

func (w *World) reset() error {
	if err := w.clearFaults(); err != nil {
		return err
	}
	if err := w.layout.resetMac(); err != nil {
		return err
	}
	if err := w.layout.writeNames(firstNames()); err != nil {
		return err
	}
	for _, log := range []string{w.layout.events(), filepath.Join(w.State, callsFile)} {
		// Writers append: what they write next stands at the beginning.
		if err := os.WriteFile(log, nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// SetMac changes what a fake Mac tool says, for the rest of the test. An empty
// MacARM64 means a Mac that does not know the key: an Intel one.
func (w *World) SetMac(t testing.TB, name, value string) {
	t.Helper()
	if err := w.layout.setMac(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.layout.resetMac(); err != nil {
			t.Error(err)
		}
	})
}

// SetName gives a name its addresses in the Internet's DNS; with none the name
// does not exist.
func (w *World) SetName(t testing.TB, name string, addresses ...netip.Addr) {
	t.Helper()
	names, err := internet.ReadNames(w.layout.names())
	if err != nil {
		t.Fatal(err)
	}
	names[strings.ToLower(name)] = addresses
	if err := w.layout.writeNames(names); err != nil {
		t.Fatal(err)
	}
}

// Events returns what reached the Internet and the Mac's own services since
// the test began, filtered by want when that is not nil.
func (w *World) Events(t testing.TB, want func(internet.Event) bool) []internet.Event {
	t.Helper()
	events, err := internet.ReadLog(w.layout.events())
	if err != nil {
		t.Fatal(err)
	}
	var chosen []internet.Event
	for _, e := range events {
		if want == nil || want(e) {
			chosen = append(chosen, e)
		}
	}
	return chosen
}

// AwaitEvent waits until an event of the kind is there: a connection is
// accepted a moment after the client has it.
func (w *World) AwaitEvent(t testing.TB, want func(internet.Event) bool) internet.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for {
		if events := w.Events(t, want); len(events) > 0 {
			return events[0]
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the event did not happen; there were %s", describe(w.Events(t, nil)))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func describe(events []internet.Event) string {
	lines := []string{fmt.Sprintf("%d events", len(events))}
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%s %s: %s → %s %s %s%s%s", e.Place, e.Kind, e.From, e.To, e.Method, e.Host, e.Path, e.Name))
	}
	return strings.Join(lines, "\n\t")
}

// Reached says that something arrived at an address, on any port.
func Reached(address string) func(internet.Event) bool {
	return func(e internet.Event) bool {
		to, err := netip.ParseAddrPort(e.To)
		want, wantErr := netip.ParseAddr(address)
		return err == nil && wantErr == nil && to.Addr().Unmap().WithZone("") == want
	}
}
