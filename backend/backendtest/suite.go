package backendtest

import (
	"context"
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Bed is a backend to be tested, with what cannot be seen through its
// interface.
type Bed struct {
	Backend backend.Backend
	// Owner is whom Backend starts bottles for.
	Owner string
	// SecretPaths are paths of the host that no guest may read, such as the
	// backend's own state, beside those every host has.
	SecretPaths []string
	// Canary is selftest.Spec.Canary: "" where guests have no network.
	Canary string
	// OwnRoot is true where a guest has a root filesystem of its own, which its
	// root may change; the agent may not either way.
	OwnRoot bool
	// LaunchTime is what a launch may take, beside what the embedded engine
	// needs.
	LaunchTime time.Duration
	// Ask is the path on this host of a program for guests that is package ask;
	// "" where GuestBinary serves it as "guest ask".
	Ask string
}

// Factory makes a backend with fresh state and an owner of its own; it cleans
// up with t. It fails t when the host cannot run bottles: the suite is never
// left out silently.
type Factory func(t *testing.T) Bed

// Deadlines of the suite. They are for a busy machine; what must be quicker
// says so where it is tested.
const (
	callTime  = 60 * time.Second
	killBound = time.Second // Backend.Exec promises it
	slack     = 2 * time.Second
)

// canaryEnv is set in the environment of the program under test, where no
// guest may find it.
const canaryEnv = "BACKENDTEST_CANARY"

// Run runs every case against the backend of f. Guests must have /bin/sh and
// the commands cat, sleep, env, id, stat, kill, setsid, head, stty and tty, and
// GuestBinary must serve the verbs of archive.GuestMain and selftest.GuestMain,
// and ask.Main where the bed names no other program.
//
// Each group of cases shares a bottle, because a user's commands do too: a
// case that leaves something behind is found by the next.
func Run(t *testing.T, f Factory) {
	t.Setenv(canaryEnv, rand.Text())
	s := &suite{Bed: f(t)}
	ctx, cancel := context.WithTimeout(t.Context(), callTime)
	defer cancel()
	caps, err := s.Backend.Check(ctx)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	s.caps = caps
	t.Run("Check", s.check)
	t.Run("Lifecycle", s.lifecycle)
	t.Run("Reload", s.reload)
	t.Run("Exec", s.exec)
	t.Run("Terminal", s.terminal)
	t.Run("Kill", s.kill)
	t.Run("Copy", s.copy)
	t.Run("List", s.list)
	t.Run("Owners", func(t *testing.T) { s.owners(t, f(t)) })
	t.Run("Limits", s.limits)
	t.Run("Isolation", s.isolation)
	t.Run("Bottles", s.bottles)
	t.Run("Expiry", s.expiry)
}

// suite is one run.
type suite struct {
	Bed
	caps backend.Capabilities
}

func (s *suite) check(t *testing.T) {
	if s.Backend.Name() == "" || s.caps.Detail == "" {
		t.Errorf("name %q, detail %q: both are shown to people", s.Backend.Name(), s.caps.Detail)
	}
	if len(s.caps.Isolation) == 0 || len(s.caps.Walls) == 0 {
		t.Errorf("isolation classes %q and walls %q must not be empty", s.caps.Isolation, s.caps.Walls)
	}
	for _, m := range s.caps.Missing {
		if m.Name == "" || m.Reason == "" {
			t.Errorf("something is missing without a name or reason: %+v", m)
		}
	}
}

// lacks reports whether the backend says that it has no such wall or limit.
func (s *suite) lacks(name string) bool {
	return slices.ContainsFunc(s.caps.Missing, func(m backend.Missing) bool { return m.Name == name })
}
