package backendtest

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

func (s *suite) lifecycle(t *testing.T) {
	t.Run("whole life", s.wholeLife)
	t.Run("double start", s.doubleStart)
	t.Run("unknown id", s.unknownID)
	t.Run("invalid id", s.invalidID)
	t.Run("half started", s.halfStarted)
	t.Run("cancelled", s.cancelled)
	t.Run("several at once", s.severalAtOnce)
	t.Run("id used again", s.idUsedAgain)
}

func (s *suite) wholeLife(t *testing.T) {
	b := s.launch(t)
	u, err := url.Parse(b.endpoints.Egress)
	if err != nil || u.Scheme != "http" || u.Port() == "" {
		t.Errorf("the egress endpoint %q is no http URL with a port: %v", b.endpoints.Egress, err)
	}
	if b.endpoints.Supervise != "" || b.endpoints.GitGate != "" {
		t.Errorf("endpoints of services that were not asked for: %+v", b.endpoints)
	}
	if out := b.sh(t, "echo alive"); out != "alive\n" {
		t.Errorf("exec gives %q", out)
	}
	if i, ok := s.instance(t, b.id); !ok || i.State != backend.Running {
		t.Errorf("List: %+v, %v", i, ok)
	}
	for _, again := range []string{"first", "second"} {
		if err := s.Backend.Remove(t.Context(), b.id); err != nil {
			t.Errorf("%s Remove: %v", again, err)
		}
	}
	if i, ok := s.instance(t, b.id); ok {
		t.Errorf("List after Remove: %+v", i)
	}
	if r := b.try(t.Context(), script0("echo ghost"), ""); !errors.Is(r.err, backend.ErrNotFound) || r.stdout != "" {
		t.Errorf("Exec after Remove: %v, %q", r.err, r.stdout)
	}
}

func (s *suite) doubleStart(t *testing.T) {
	b := s.launch(t)
	sidecar, agent := s.specs(t, b.id)
	if _, err := s.Backend.StartSidecar(t.Context(), sidecar); !errors.Is(err, backend.ErrExists) {
		t.Errorf("second StartSidecar: %v, want ErrExists", err)
	}
	if _, err := s.Backend.StartAgent(t.Context(), agent); err == nil {
		t.Error("second StartAgent succeeds")
	}
	if out := b.sh(t, "echo unharmed"); out != "unharmed\n" {
		t.Errorf("the first bottle gives %q", out)
	}
}

func (s *suite) unknownID(t *testing.T) {
	const id = "never-started"
	_, agent := s.specs(t, id)
	calls := map[string]func(context.Context) error{
		"StartAgent": func(ctx context.Context) error {
			_, err := s.Backend.StartAgent(ctx, agent)
			return err
		},
		"Exec": func(ctx context.Context) error {
			_, err := s.Backend.Exec(ctx, id, script0("exit"), backend.Streams{})
			return err
		},
		"Copy in": func(ctx context.Context) error {
			_, err := s.Backend.Copy(ctx, id, backend.CopySpec{Direction: backend.CopyIn, Path: "/tmp", Reader: strings.NewReader("")})
			return err
		},
		"Copy out": func(ctx context.Context) error {
			_, err := s.Backend.Copy(ctx, id, backend.CopySpec{Direction: backend.CopyOut, Path: "/tmp", Writer: io.Discard})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			if err := call(t.Context()); !errors.Is(err, backend.ErrNotFound) {
				t.Errorf("error %v, want ErrNotFound", err)
			}
		})
	}
	t.Run("Remove", func(t *testing.T) {
		if err := s.Backend.Remove(t.Context(), id); err != nil {
			t.Errorf("error %v, want success", err)
		}
	})
}

// invalidID has ids that would be paths, options or other objects' names.
func (s *suite) invalidID(t *testing.T) {
	for _, id := range []backend.ID{"", ".", "..", "../x", "a/b", "-rf", "x-", "A", "a b", "a\n", "a\x00", "ä", backend.ID(strings.Repeat("a", 41))} {
		t.Run(string(id), func(t *testing.T) {
			sidecar, agent := s.specs(t, id)
			if _, err := s.Backend.StartSidecar(t.Context(), sidecar); err == nil {
				t.Error("StartSidecar takes it")
			}
			if _, err := s.Backend.StartAgent(t.Context(), agent); err == nil {
				t.Error("StartAgent takes it")
			}
			if _, err := s.Backend.Exec(t.Context(), id, script0("exit"), backend.Streams{}); err == nil {
				t.Error("Exec takes it")
			}
			// Whether Remove refuses or finds nothing, it must not harm.
			_ = s.Backend.Remove(t.Context(), id)
			if i, ok := s.instance(t, id); ok {
				t.Errorf("List has %+v", i)
			}
		})
	}
}

// halfStarted has a sidecar without an agent: listed as it is, and removed
// without a trace.
func (s *suite) halfStarted(t *testing.T) {
	id := newID()
	sidecar, _ := s.specs(t, id)
	s.removeLater(t, id)
	if _, err := s.Backend.StartSidecar(t.Context(), sidecar); err != nil {
		t.Fatalf("StartSidecar: %v", err)
	}
	if i, ok := s.instance(t, id); !ok || i.State == backend.Running {
		t.Errorf("List: %+v, %v", i, ok)
	}
	if _, err := s.Backend.Exec(t.Context(), id, script0("exit"), backend.Streams{}); err == nil {
		t.Error("Exec works without an agent")
	}
	if err := s.Backend.Remove(t.Context(), id); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if i, ok := s.instance(t, id); ok {
		t.Errorf("List after Remove: %+v", i)
	}
}

// cancelled calls everything with a context that has ended.
func (s *suite) cancelled(t *testing.T) {
	b := s.launch(t)
	id := newID()
	sidecar, _ := s.specs(t, id)
	s.removeLater(t, id)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Backend.StartSidecar(ctx, sidecar); !errors.Is(err, context.Canceled) {
		t.Errorf("StartSidecar: %v", err)
	}
	if i, ok := s.instance(t, id); ok {
		t.Errorf("a cancelled StartSidecar left %+v", i)
	}
	if r := b.try(ctx, script0("echo ran"), ""); !errors.Is(r.err, context.Canceled) || r.stdout != "" {
		t.Errorf("Exec: %v, %q", r.err, r.stdout)
	}
	if _, err := s.Backend.Copy(ctx, b.id, backend.CopySpec{Direction: backend.CopyOut, Path: "/tmp", Writer: io.Discard}); !errors.Is(err, context.Canceled) {
		t.Errorf("Copy: %v", err)
	}
	if _, err := s.Backend.List(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("List: %v", err)
	}
	b.sh(t, "echo still fine")
}

func (s *suite) severalAtOnce(t *testing.T) {
	const count = 4
	done := make(chan error, count)
	var ids []backend.ID
	for range count {
		id := newID()
		ids = append(ids, id)
		sidecar, agent := s.specs(t, id)
		s.removeLater(t, id)
		go func() {
			_, err := s.Backend.StartSidecar(t.Context(), sidecar)
			if err == nil {
				_, err = s.Backend.StartAgent(t.Context(), agent)
			}
			done <- err
		}()
	}
	for range count {
		if err := <-done; err != nil {
			t.Errorf("a launch beside others: %v", err)
		}
	}
	for _, id := range ids {
		b := &bottle{s: s, id: id}
		if out := b.sh(t, "echo $0 "+string(id)); !strings.Contains(out, string(id)) {
			t.Errorf("%s answers %q", id, out)
		}
	}
}

// idUsedAgain starts a bottle under the id of one that was removed: nothing of
// the old may be found.
func (s *suite) idUsedAgain(t *testing.T) {
	b := s.launch(t)
	b.sh(t, "echo old > /tmp/left; echo old > left")
	if err := s.Backend.Remove(t.Context(), b.id); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	again := s.launch(t, func(sc *backend.SidecarSpec, a *backend.AgentSpec) {
		sc.ID, a.ID, sc.Config.Bottle = b.id, b.id, string(b.id)
	})
	if r := again.run(t, script0("cat /tmp/left left"), ""); r.Code == 0 || r.stdout != "" {
		t.Errorf("the new bottle has the old one's files: %q", r.stdout)
	}
}
