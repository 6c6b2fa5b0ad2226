package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// fake is a backend in memory. A guest's file system is a directory.
type fake struct {
	dir  string
	caps backend.Capabilities

	mu      sync.Mutex
	bottles map[backend.ID]*fakeBottle
	calls   []string
	// fail makes a method fail, by its name; before is called first.
	fail   map[string]error
	before func(method string)
	// probe answers the self-test; nil = all green.
	probe func(spec selftest.Spec, user string, stdout io.Writer) int
	// command runs anything else.
	command func(cmd backend.Command, s backend.Streams) backend.ExitStatus
	// setup replaces the guest's half of package setup.
	setup func(ctx context.Context, stdin io.Reader, stdout io.Writer) (int, error)
	// stream replaces what CopyOut writes.
	stream func(w io.Writer) error
}

type fakeBottle struct {
	backend.Instance

	sidecar backend.SidecarSpec
	agent   backend.AgentSpec
	given   sidecars.Secrets // of the last reload
}

func newFake(t *testing.T) *fake {
	t.Helper()
	return &fake{
		dir: t.TempDir(), bottles: map[backend.ID]*fakeBottle{}, fail: map[string]error{},
		caps: backend.Capabilities{
			Isolation: []string{"namespace", "gvisor"}, Services: []sidecars.Service{sidecars.Egress, sidecars.Bottles}, MultiUser: true,
			Walls: []string{"wall"}, Missing: []backend.Missing{{Name: "landlock", Reason: "none"}}, HostAddresses: []string{"192.0.2.7"},
		},
	}
}

var _ backend.Backend = (*fake)(nil)

// enter notes a call and says whether it is to fail.
func (f *fake) enter(ctx context.Context, method string) error {
	if f.before != nil {
		f.before(method)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, method)
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.fail[method]
}

func (f *fake) Name() string { return "linux" }

func (f *fake) Check(context.Context) (backend.Capabilities, error) { return f.caps, f.fail["Check"] }

func (f *fake) PrepareImage(ctx context.Context, spec backend.ImageSpec, progress io.Writer) (string, error) {
	if err := f.enter(ctx, "PrepareImage"); err != nil {
		return "", err
	}
	_, err := io.WriteString(progress, "step 1\nstep 2\n")
	return spec.Reference + spec.Dockerfile, err
}

func (f *fake) StartSidecar(ctx context.Context, spec backend.SidecarSpec) (backend.Endpoints, error) {
	if err := f.enter(ctx, "StartSidecar"); err != nil {
		return backend.Endpoints{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bottles[spec.ID] != nil {
		return backend.Endpoints{}, backend.ErrExists
	}
	f.bottles[spec.ID] = &fakeBottle{sidecar: spec, Instance: backend.Instance{
		ID: spec.ID, Owner: spec.Owner, State: backend.Starting, Created: time.Now(), Expires: spec.Expires,
		Services: map[sidecars.Service]bool{sidecars.Egress: true}, Usage: backend.Usage{MemoryBytes: 7},
	}}
	at := backend.Endpoints{Egress: "http://127.0.0.1:9099", NoProxy: []string{"192.0.2.9"}}
	if slices.Contains(spec.Services, sidecars.Bottles) {
		at.Bottles = "http://127.0.0.1:9101/mcp"
	}
	return at, nil
}

func (f *fake) Reload(ctx context.Context, id backend.ID, cfg sidecars.Config, given sidecars.Secrets) error {
	if err := f.enter(ctx, "Reload"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.bottles[id]
	if b == nil {
		return backend.ErrNotFound
	}
	b.sidecar.Config, b.given = cfg, given
	return nil
}

func (f *fake) StartAgent(ctx context.Context, spec backend.AgentSpec) (backend.Account, error) {
	if err := f.enter(ctx, "StartAgent"); err != nil {
		return backend.Account{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bottles[spec.ID].agent, f.bottles[spec.ID].State = spec, backend.Running
	if err := os.MkdirAll(f.guest(spec.ID, backend.AgentHome), 0o700); err != nil {
		return backend.Account{}, err
	}
	etc := maps.Clone(spec.SystemFiles)
	if etc != nil {
		etc["/etc/ssl/certs/ca-certificates.crt"] = slices.Concat([]byte("system roots\n"), spec.CACert)
	}
	for name, content := range etc {
		path := f.guest(spec.ID, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
			return backend.Account{}, err
		}
	}
	return backend.DefaultAccount(), nil
}

// guest is where a guest path lies on this host.
func (f *fake) guest(id backend.ID, path string) string {
	return filepath.Join(f.dir, string(id), path)
}

func (f *fake) Exec(ctx context.Context, id backend.ID, cmd backend.Command, s backend.Streams) (backend.ExitStatus, error) {
	if err := f.enter(ctx, "Exec"); err != nil {
		return backend.ExitStatus{}, err
	}
	f.mu.Lock()
	b := f.bottles[id]
	f.mu.Unlock()
	if b == nil || b.State != backend.Running {
		return backend.ExitStatus{}, backend.ErrNotRunning
	}
	if slices.Equal(cmd.Argv, []string{backend.GuestBinary, "guest", "selftest"}) {
		var spec selftest.Spec
		if err := json.NewDecoder(s.Stdin).Decode(&spec); err != nil {
			return backend.ExitStatus{Code: 2}, nil
		}
		probe := f.probe
		if probe == nil {
			probe = func(spec selftest.Spec, _ string, out io.Writer) int { return answer(spec, out, "") }
		}
		return backend.ExitStatus{Code: probe(spec, cmd.User, s.Stdout)}, nil
	}
	if slices.Equal(cmd.Argv, setup.Argv()) && f.setup != nil {
		code, err := f.setup(ctx, s.Stdin, s.Stdout)
		return backend.ExitStatus{Code: code}, err
	}
	if slices.Equal(cmd.Argv, setup.Argv()) {
		return backend.ExitStatus{Code: setup.GuestMainAt(f.guest(id, "/"), s.Stdin, s.Stdout)}, nil
	}
	return f.command(cmd, s), nil
}

// answer writes a self-test result in which the named check is red.
func answer(spec selftest.Spec, out io.Writer, red string) int {
	var r selftest.Result
	for _, name := range selftest.Names(spec) {
		r.Checks = append(r.Checks, selftest.Check{Name: name, OK: name != red, Detail: "seen"})
	}
	_ = json.NewEncoder(out).Encode(r)
	return len(r.Failed())
}

func (f *fake) Copy(ctx context.Context, id backend.ID, spec backend.CopySpec) (backend.CopyReport, error) {
	method := "CopyIn"
	if spec.Direction == backend.CopyOut {
		method = "CopyOut"
	}
	if err := f.enter(ctx, method); err != nil {
		return backend.CopyReport{}, err
	}
	if f.stream != nil && spec.Direction == backend.CopyOut {
		return backend.CopyReport{}, f.stream(spec.Writer)
	}
	run := func(ctx context.Context, cmd backend.Command, s backend.Streams) (backend.ExitStatus, error) {
		stdin, stdout, stderr := s.Stdin, s.Stdout, s.Stderr
		if stdin == nil {
			stdin = bytes.NewReader(nil)
		}
		return backend.ExitStatus{Code: archive.GuestMain(ctx, []string{cmd.Argv[2], f.guest(id, cmd.Argv[3])}, stdin, stdout, stderr)}, nil
	}
	return archive.CopyVia(ctx, run, spec)
}

func (f *fake) List(ctx context.Context) ([]backend.Instance, error) {
	if err := f.enter(ctx, "List"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []backend.Instance
	for _, b := range f.bottles {
		out = append(out, b.Instance)
	}
	return out, nil
}

func (f *fake) Remove(ctx context.Context, id backend.ID) error {
	if err := f.enter(ctx, "Remove"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.bottles, id)
	return os.RemoveAll(f.guest(id, ""))
}

// called forgets the calls so far and returns them.
func (f *fake) called() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.calls
	f.calls = nil
	return out
}

// set changes a bottle's state in the engine.
func (f *fake) set(id backend.ID, s backend.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bottles[id].State = s
}

// bed is a manager on a fake backend with a home, a root and a state.
type bed struct {
	*Manager

	t      *testing.T
	guests *fakeGuests
	fake   *fake
	store  *state.Store
	home   string
	root   string
	env    map[string]string
	envMu  sync.Mutex
}

var operator = Principal{Kind: Operator}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, guests: newFakeGuests(), fake: newFake(t), home: t.TempDir(), root: t.TempDir(), env: map[string]string{"HOME": "/home/tester"}}
	b.store = openStore(t, shortDir(t))
	b.Manager = b.manager(b.store)
	return b
}

// shortDir has room for a socket's path, whatever the test is called.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bm-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func openStore(t *testing.T, path string) *state.Store {
	t.Helper()
	s, err := state.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// manager makes another manager on the same fake and files.
func (b *bed) manager(s *state.Store) *Manager {
	b.t.Helper()
	m, err := NewManager(Config{
		Backends: []backend.Backend{b.fake}, GOOS: "linux", State: s, ManifestHome: b.home,
		WorkspaceRoots: []string{b.root}, LookupEnv: b.lookup, HostAddresses: []string{"192.0.2.8", "192.0.2.7"},
		MergeBottles: true, ServeGuest: b.guests.serve,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

func (b *bed) lookup(name string) (string, bool) {
	b.envMu.Lock()
	defer b.envMu.Unlock()
	v, ok := b.env[name]
	return v, ok
}

func (b *bed) setenv(name, value string) {
	b.envMu.Lock()
	defer b.envMu.Unlock()
	if b.env[name] = value; value == "" {
		delete(b.env, name)
	}
}

// put writes a file below dir, making its directories.
func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func (b *bed) bottleFile(name, front string) {
	put(b.t, b.home, "bottles/"+name+".md", "---\n"+front+"\n---\n")
}

func (b *bed) plan(req LaunchRequest) *Plan {
	b.t.Helper()
	req.Principal = operator
	p, err := b.Plan(b.t.Context(), req)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bed) launch(req LaunchRequest) *Bottle {
	b.t.Helper()
	live, err := b.Launch(b.t.Context(), b.plan(req), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return live
}

// nothingLeft fails unless neither store nor engine knows any bottle.
func (b *bed) nothingLeft() {
	b.t.Helper()
	left, err := os.ReadDir(b.store.BottlesDir())
	if err != nil || len(left) > 0 {
		b.t.Errorf("left in the state: %v, %v", left, err)
	}
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	if len(b.fake.bottles) > 0 {
		b.t.Errorf("left in the engine: %v", b.fake.bottles)
	}
}

// grep lists the files below dir that hold text.
func grep(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// wantInvalid fails unless err holds an *InvalidError for field that says part.
func wantInvalid(t *testing.T, err error, field, part string) {
	t.Helper()
	for _, p := range flatten(err) {
		var invalid *InvalidError
		if errors.As(p, &invalid) && invalid.Field == field && strings.Contains(invalid.Error(), part) {
			return
		}
	}
	t.Errorf("error %v holds no problem of %q that says %q", err, field, part)
}

func flatten(err error) []error {
	var plan *PlanError
	if errors.As(err, &plan) {
		return plan.Problems
	}
	return []error{err}
}

func jsonLine(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + "\n"
}

func deny(id backend.ID, host string) sidecars.Decision {
	return sidecars.Decision{Time: time.Now(), Bottle: string(id), Service: sidecars.Egress, Verdict: sidecars.Deny, Layer: "host", Reason: "host_not_allowed", Host: host}
}

// appendLog appends to a bottle's egress log, as its sidecar does.
func (b *bed) appendLog(id backend.ID, text string) {
	b.t.Helper()
	f, err := os.OpenFile(filepath.Join(b.store.BottlesDir(), string(id), state.EgressLog), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprint(f, text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		b.t.Error(err)
	}
}
