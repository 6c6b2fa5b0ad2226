package backendtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
)

// allowedHost is the one host that the suite's bottles allow. It does not exist.
const allowedHost = "allowed.invalid"

// serial and run keep ids apart within a program, and between programs that
// test on the same machine at the same time.
var (
	serial atomic.Int64                       //nolint:gochecknoglobals // see above
	run    = strings.ToLower(rand.Text()[:6]) //nolint:gochecknoglobals // see above
)

func newID() backend.ID { return backend.ID(fmt.Sprintf("conform-%s-%d", run, serial.Add(1))) }

// bottle is a running bottle of the suite.
type bottle struct {
	s         *suite
	id        backend.ID
	endpoints backend.Endpoints
	expires   time.Time
}

// option changes a launch.
type option func(*backend.SidecarSpec, *backend.AgentSpec)

func limited(l backend.Limits) option {
	return func(_ *backend.SidecarSpec, a *backend.AgentSpec) { a.Limits = l }
}

func isolated(class string) option {
	return func(_ *backend.SidecarSpec, a *backend.AgentSpec) { a.Isolation = class }
}

func expiring(in time.Duration) option {
	return func(sc *backend.SidecarSpec, _ *backend.AgentSpec) { sc.Expires = time.Now().Add(in) }
}

// launch starts a bottle that is removed with t.
func (s *suite) launch(t *testing.T, opts ...option) *bottle {
	t.Helper()
	sidecar, agent := s.specs(t, newID())
	for _, o := range opts {
		o(&sidecar, &agent)
	}
	s.removeLater(t, sidecar.ID)
	ctx, cancel := context.WithTimeout(t.Context(), callTime)
	defer cancel()
	endpoints, err := s.Backend.StartSidecar(ctx, sidecar)
	if err != nil {
		t.Fatalf("StartSidecar: %v", err)
	}
	account, err := s.Backend.StartAgent(ctx, agent)
	if err != nil {
		t.Fatalf("StartAgent: %v", err)
	}
	if account != backend.DefaultAccount() {
		t.Errorf("StartAgent says that %+v works there", account)
	}
	return &bottle{s: s, id: sidecar.ID, endpoints: endpoints, expires: sidecar.Expires}
}

// specs are those of an ordinary bottle.
func (s *suite) specs(t *testing.T, id backend.ID) (backend.SidecarSpec, backend.AgentSpec) {
	t.Helper()
	// The name is not the id's: invalid ids are launched too.
	cert, key, err := ca.NewAuthority("conformance", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	sidecar := backend.SidecarSpec{
		ID: id, Owner: s.Owner, Services: []sidecars.Service{sidecars.Egress},
		Config:  sidecars.Config{Bottle: string(id), Routes: []sidecars.Route{{Host: allowedHost}}, CACert: string(cert)},
		Secrets: sidecars.Secrets{CAKey: key}, Expires: time.Now().Add(10 * time.Minute),
	}
	agent := backend.AgentSpec{ID: id, CACert: cert, Env: []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + backend.AgentHome, "USER=" + backend.AgentUser, "MARK=from the launch", "LANG=C.UTF-8",
	}}
	return sidecar, agent
}

// removeLater removes a bottle with t, also when t was cut short.
func (s *suite) removeLater(t *testing.T, id backend.ID) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTime)
		defer cancel()
		if err := s.Backend.Remove(ctx, id); err != nil {
			t.Errorf("Remove(%s): %v", id, err)
		}
	})
}

// result is a finished command.
type result struct {
	backend.ExitStatus
	stdout, stderr string
	err            error
	took           time.Duration
}

// run runs a command that must not fail by the engine's fault.
func (b *bottle) run(t *testing.T, cmd backend.Command, stdin string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTime)
	defer cancel()
	r := b.try(ctx, cmd, stdin)
	if r.err != nil {
		t.Fatalf("Exec %q: %v", cmd.Argv, r.err)
	}
	return r
}

// try runs a command whatever happens.
func (b *bottle) try(ctx context.Context, cmd backend.Command, stdin string) result {
	var out, errOut bytes.Buffer
	streams := backend.Streams{Stdout: &out, Stderr: &errOut}
	if stdin != "" {
		streams.Stdin = strings.NewReader(stdin)
	}
	start := time.Now()
	status, err := b.s.Backend.Exec(ctx, b.id, cmd, streams)
	return result{status, out.String(), errOut.String(), err, time.Since(start)}
}

// sh runs a script as the agent and fails t unless it ends with 0.
func (b *bottle) sh(t *testing.T, script string, args ...string) string {
	t.Helper()
	r := b.run(t, script0(script, args...), "")
	if r.Code != 0 {
		t.Fatalf("script %q ended with %d %s: %s", script, r.Code, r.StartError, r.stderr)
	}
	return r.stdout
}

// script0 is a command that runs a script with arguments.
func script0(script string, args ...string) backend.Command {
	return backend.Command{Argv: append([]string{"/bin/sh", "-c", script, "sh"}, args...)}
}

// asRoot is cmd as uid 0 where the backend has one.
func asRoot(cmd backend.Command) backend.Command {
	cmd.User = "root"
	return cmd
}

// processes returns the command lines of everything in the guest, as another
// command sees them.
func (b *bottle) processes(t *testing.T) string {
	t.Helper()
	// A process may end between the listing and the reading.
	return b.run(t, script0("cat /proc/[0-9]*/cmdline 2>/dev/null; exit 0"), "").stdout
}

// await polls until ok; it fails t with what when it never is.
func await(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, within)
		}
	}
}

// instance finds a bottle in List.
func (s *suite) instance(t *testing.T, id backend.ID) (backend.Instance, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTime)
	defer cancel()
	all, err := s.Backend.List(ctx)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	var found []backend.Instance
	for _, i := range all {
		if i.ID == id {
			found = append(found, i)
		}
	}
	if len(found) > 1 {
		t.Fatalf("List has %s %d times", id, len(found))
	}
	if len(found) == 0 {
		return backend.Instance{}, false
	}
	return found[0], true
}

// gone reports whether err says that a bottle is not there to be used.
func gone(err error) bool {
	return errors.Is(err, backend.ErrNotFound) || errors.Is(err, backend.ErrNotRunning)
}
