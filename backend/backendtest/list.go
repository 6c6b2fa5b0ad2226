package backendtest

import (
	"errors"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func (s *suite) list(t *testing.T) {
	start := time.Now()
	b := s.launch(t)
	other := s.launch(t)
	i, ok := s.instance(t, b.id)
	if !ok {
		t.Fatal("a running bottle is not listed")
	}
	if i.State != backend.Running || i.Owner != s.Owner {
		t.Errorf("state %q, owner %q; want running, %q", i.State, i.Owner, s.Owner)
	}
	if alive, known := i.Services[sidecars.Egress]; !alive || !known || len(i.Services) != 1 {
		t.Errorf("services %v, want the egress proxy alive", i.Services)
	}
	if i.Created.Before(start.Add(-slack)) || i.Created.After(time.Now().Add(slack)) {
		t.Errorf("created %s, it is %s", i.Created, time.Now())
	}
	if d := i.Expires.Sub(b.expires).Abs(); d > slack {
		t.Errorf("expires %s, asked for %s", i.Expires, b.expires)
	}
	if i.Usage.PIDs == 0 || i.Usage.MemoryBytes == 0 {
		t.Errorf("usage %+v: zero is impossible, unknown is negative", i.Usage)
	}
	if err := s.Backend.Remove(t.Context(), b.id); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if _, ok := s.instance(t, b.id); ok {
		t.Error("a removed bottle is listed")
	}
	if i, ok := s.instance(t, other.id); !ok || i.State != backend.Running {
		t.Errorf("removing one bottle changed another: %+v, %v", i, ok)
	}
}

// owners has two backends with different owners on one machine: neither sees
// nor harms the other's bottles, also where both use one id.
func (s *suite) owners(t *testing.T, bed Bed) {
	if bed.Owner == s.Owner {
		t.Fatalf("the factory gives the owner %q twice", s.Owner)
	}
	other := &suite{Bed: bed, caps: s.caps}
	mine, theirs := s.launch(t), other.launch(t)
	if i, ok := s.instance(t, theirs.id); ok {
		t.Errorf("another owner's bottle is listed: %+v", i)
	}
	if r := (&bottle{s: s, id: theirs.id}).try(t.Context(), script0("echo hello"), ""); !errors.Is(r.err, backend.ErrNotFound) {
		t.Errorf("another owner's bottle runs commands: %q, %v", r.stdout, r.err)
	}
	if err := s.Backend.Remove(t.Context(), theirs.id); err != nil {
		t.Errorf("Remove of another owner's id: %v", err)
	}
	theirs.answers(t)

	sidecar, agent := other.specs(t, mine.id)
	other.removeLater(t, mine.id)
	_, err := other.Backend.StartSidecar(t.Context(), sidecar)
	if err == nil {
		_, err = other.Backend.StartAgent(t.Context(), agent)
	}
	if err != nil && !errors.Is(err, backend.ErrExists) && !errors.Is(err, backend.ErrTaken) {
		t.Errorf("an id that another owner uses: %v, want success, ErrExists or ErrTaken", err)
	}
	mine.answers(t)
	if err := other.Backend.Remove(t.Context(), mine.id); err != nil {
		t.Errorf("Remove of an id that two owners use: %v", err)
	}
	mine.answers(t)
}

// expiry has a bottle that ends by itself, in the middle of a command.
func (s *suite) expiry(t *testing.T) {
	ttl := 3*time.Second + s.LaunchTime
	b := s.launch(t, expiring(ttl))
	start := time.Now()
	r := b.try(t.Context(), script0("sleep 60"), "")
	if took := time.Since(start); took > ttl+5*time.Second {
		t.Errorf("a command outlives its bottle: it ended after %s", took)
	}
	if r.err == nil && r.Signal == 0 {
		t.Errorf("the command ended with %+v", r.ExitStatus)
	}
	await(t, 5*time.Second, "the bottle has ended", func() bool {
		return gone(b.try(t.Context(), script0("echo alive"), "").err)
	})
	await(t, 5*time.Second, "the bottle is listed as expired, or not at all", func() bool {
		i, ok := s.instance(t, b.id)
		return !ok || i.State == backend.Expired
	})
}
