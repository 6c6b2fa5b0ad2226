package backendtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// freshHost is allowed by no bottle until its policy changes.
const freshHost = "fresh.invalid"

func (s *suite) reload(t *testing.T) {
	b := s.launch(t)
	t.Run("another policy", b.anotherPolicy)
	t.Run("a bad policy", b.badPolicy)
	t.Run("a new token", b.newToken)
	t.Run("many at once", b.manyPolicies)
	t.Run("without a bottle", func(t *testing.T) { s.reloadNothing(t, b) })
}

// policy is a configuration of the bottle that allows the hosts.
func (b *bottle) policy(hosts ...string) sidecars.Config {
	cfg := sidecars.Config{Bottle: string(b.id), Routes: []sidecars.Route{}}
	for _, h := range hosts {
		cfg.Routes = append(cfg.Routes, sidecars.Route{Host: h})
	}
	return cfg
}

func (b *bottle) change(t *testing.T, cfg sidecars.Config, secrets sidecars.Secrets) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTime)
	defer cancel()
	return b.s.Backend.Reload(ctx, b.id, cfg, secrets)
}

// allows asks the proxy from within the guest, as the launch's self-test does.
func (b *bottle) allows(t *testing.T, host string) bool {
	t.Helper()
	spec := selftest.For(b.s.caps.Guest)
	spec.ProxyURL, spec.BottleID, spec.AllowedHost = b.endpoints.Egress, string(b.id), host
	spec.Timeout *= 3
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	r := b.run(t, backend.Command{Argv: []string{backend.GuestBinary, "guest", "selftest"}, Dir: "/"}, string(data))
	result, err := selftest.DecodeResult([]byte(r.stdout), spec)
	if err != nil {
		t.Fatalf("ask for %s: %v: code %d, %s", host, err, r.Code, r.stderr)
	}
	for _, c := range result.Checks {
		switch c.Name {
		case "proxy-answers":
			if !c.OK {
				t.Fatalf("the proxy does not answer: %s", c.Detail)
			}
		case "allowed-answers":
			return c.OK
		}
	}
	t.Fatal("the self-test did not ask")
	return false
}

func (b *bottle) demand(t *testing.T, allowed []string, refused ...string) {
	t.Helper()
	for _, host := range allowed {
		if !b.allows(t, host) {
			t.Errorf("%s is refused", host)
		}
	}
	for _, host := range refused {
		if b.allows(t, host) {
			t.Errorf("%s is allowed", host)
		}
	}
}

func (b *bottle) anotherPolicy(t *testing.T) {
	b.demand(t, []string{allowedHost}, freshHost)
	for _, step := range []struct{ allowed, refused []string }{
		{[]string{allowedHost, freshHost}, nil},
		{[]string{freshHost}, []string{allowedHost}},
		{nil, []string{allowedHost, freshHost}},
		{[]string{allowedHost}, []string{freshHost}},
	} {
		if err := b.change(t, b.policy(step.allowed...), sidecars.Secrets{}); err != nil {
			t.Fatalf("Reload to %q: %v", step.allowed, err)
		}
		b.demand(t, step.allowed, step.refused...)
	}
	b.answers(t)
}

func (b *bottle) badPolicy(t *testing.T) {
	fresh := b.policy(freshHost)
	for _, tt := range []struct {
		name   string
		config func(c sidecars.Config) sidecars.Config
		want   string
	}{
		{"another bottle", func(c sidecars.Config) sidecars.Config { c.Bottle = "another"; return c }, "bottle"},
		{"another authority", func(c sidecars.Config) sidecars.Config { c.CACert = "x"; return c }, "authority"},
		{"a bad host", func(c sidecars.Config) sidecars.Config {
			c.Routes = []sidecars.Route{{Host: freshHost}, {Host: "*"}}
			return c
		}, "routes[1]"},
		{"no token", func(c sidecars.Config) sidecars.Config {
			c.Routes = []sidecars.Route{{Host: freshHost, Auth: &sidecars.Auth{Scheme: sidecars.SchemeBearer, Slot: "NONE"}}}
			return c
		}, "NONE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := b.change(t, tt.config(fresh), sidecars.Secrets{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			b.demand(t, []string{allowedHost}, freshHost)
		})
	}
}

// newToken hands a credential over with the route that needs it. It is kept for
// policies that come later.
func (b *bottle) newToken(t *testing.T) {
	cfg := b.policy(allowedHost)
	cfg.Routes = append(cfg.Routes, sidecars.Route{Host: freshHost, Auth: &sidecars.Auth{Scheme: sidecars.SchemeBearer, Slot: "SLOT"}})
	tokens := sidecars.Secrets{Tokens: map[string]secret.Value{"SLOT": secret.New("token-of-the-conformance-suite")}}
	if err := b.change(t, cfg, tokens); err != nil {
		t.Fatalf("Reload: %v", err)
	}
	b.demand(t, []string{allowedHost, freshHost})
	if err := b.change(t, cfg, sidecars.Secrets{}); err != nil {
		t.Errorf("Reload without the token: %v", err)
	}
	if err := b.change(t, b.policy(allowedHost), sidecars.Secrets{}); err != nil {
		t.Errorf("Reload to the first policy: %v", err)
	}
	b.demand(t, []string{allowedHost}, freshHost)
}

// manyPolicies at once: one of them is in force, whole.
func (b *bottle) manyPolicies(t *testing.T) {
	const count = 4
	done := make(chan error, count)
	host := func(i int) string { return fmt.Sprintf("number-%d.invalid", i) }
	for i := range count {
		go func() { done <- b.change(t, b.policy(host(i), allowedHost), sidecars.Secrets{}) }()
	}
	for range count {
		if err := <-done; err != nil {
			t.Errorf("Reload beside others: %v", err)
		}
	}
	in := 0
	for i := range count {
		if b.allows(t, host(i)) {
			in++
		}
	}
	if in != 1 || !b.allows(t, allowedHost) {
		t.Errorf("%d of %d policies are in force", in, count)
	}
}

func (s *suite) reloadNothing(t *testing.T, b *bottle) {
	cfg := b.policy(allowedHost)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backend.Reload(ctx, b.id, cfg, sidecars.Secrets{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	unknown := backend.ID("never-started")
	if err := s.Backend.Reload(t.Context(), unknown, cfg, sidecars.Secrets{}); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("of an unknown id: %v, want ErrNotFound", err)
	}
	if err := s.Backend.Reload(t.Context(), "../x", cfg, sidecars.Secrets{}); err == nil {
		t.Error("an id that is a path is taken")
	}
	if err := s.Backend.Remove(t.Context(), b.id); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if err := b.change(t, cfg, sidecars.Secrets{}); !gone(err) {
		t.Errorf("after Remove: %v", err)
	}
}
