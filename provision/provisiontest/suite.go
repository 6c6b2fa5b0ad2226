package provisiontest

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// Bed is a backend and what its guests are like.
type Bed struct {
	// Backend keeps its bottles in Store's directory.
	Backend backend.Backend
	Store   *state.Store
	// Canary is provision.Config's.
	Canary string
	// Image names what guests are made from; "" = the backend's own. It has git
	// and curl.
	Image string
	// Account is who has to work in a guest.
	Account backend.Account
	// Origin is what guests may reach; nil leaves out what needs one.
	Origin *Origin
	// Clients are those that a guest must have, of Clients.
	Clients []string
}

// Origin is a web site that the sidecars reach and trust. The operator's
// credential for it is OriginToken.
type Origin struct {
	URL string
	// Route is its route in a manifest without auth, as YAML in one line.
	Route string
	// Requests are those that arrived so far.
	Requests func(testing.TB) []Request
}

// Request is what the origin saw of one.
type Request struct {
	Path   string
	Header http.Header
}

// OriginToken is the credential that the sidecar adds. Like all credentials of
// this suite it is none anywhere else.
const OriginToken = "real-credential-5f2c9"

// knownSecret is what a manifest puts into a guest.
const knownSecret = "kn0wn-V4lue-of-the-manifest"

// Credentials of the operator's own log-in, and what an agent sends by itself.
const (
	loginToken   = "login-credential-7c1d4"
	loginRefresh = "login-refresh-e90a2"
	agentToken   = "agents-own-credential"
)

const (
	launchTime  = 3 * time.Minute
	commandTime = 90 * time.Second
)

func operator() provision.Principal { return provision.Principal{Kind: provision.Operator} }

// Run runs the suite. open is called once.
func Run(t *testing.T, open func(*testing.T) Bed) {
	t.Helper()
	s := newSuite(t, open(t))
	b := s.launch(t, provision.LaunchRequest{
		Agent: "worker", Bottles: []string{"token"}, ID: "provisioned", Label: `a "label"`,
		Prompt: "What now? $(id) `id`", Workspace: s.workspace,
	})
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Account", b.account}, {"Report", b.report}, {"Files", b.files}, {"Workspace", b.workspace}, {"Variables", b.variables}, {"Trust", b.trust},
		{"Doctor", b.doctor}, {"Again", b.again}, {"Git", b.git}, {"Agent", b.agent}, {"Requests", b.requests}, {"Clients", b.clients}, {"Reload", b.reload}, {"Secrets", b.secrets},
	} {
		t.Run(test.name, test.run)
	}
	t.Run("Login", s.login)
}

// suite is one run.
type suite struct {
	Bed

	home      string // the operator's
	workspace string
	manager   *provision.Manager
	recorder  *recorder
}

func newSuite(t *testing.T, bed Bed) *suite {
	t.Helper()
	// Links are resolved, as on a Mac, where the temporary directory is one.
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{Bed: bed, home: home, workspace: filepath.Join(home, "project"), recorder: &recorder{Backend: bed.Backend}}
	s.furnish(t)
	s.manager, err = provision.NewManager(provision.Config{
		Backends: []backend.Backend{s.recorder}, Backend: bed.Backend.Name(), State: bed.Store, Canary: bed.Canary,
		ManifestHome: filepath.Join(home, ".bot-bottle"), WorkspaceRoots: []string{s.workspace},
		LookupEnv: func(name string) (string, bool) {
			value, ok := map[string]string{"ORIGIN_TOKEN": OriginToken, "DB_PASSWORD": knownSecret, "PLANTED": knownSecret, "HOME": home}[name]
			return value, ok
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// launch launches a bottle that is removed with t, and records what its steps
// did in the guest.
func (s *suite) launch(t *testing.T, req provision.LaunchRequest) *bottle {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), launchTime)
	defer cancel()
	req.Principal = operator()
	plan, err := s.manager.Plan(ctx, req)
	if err != nil {
		t.Fatalf("Plan: %v", err)
	}
	s.recorder.begin()
	live, err := s.manager.Launch(ctx, plan, nil)
	steps := s.recorder.end()
	if err != nil {
		t.Fatalf("Launch: %v", err)
	}
	t.Cleanup(func() {
		// t.Context has ended by then.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), launchTime)
		defer cancel()
		items, err := s.manager.Cleanup(ctx, provision.CleanupRequest{IDs: []backend.ID{live.ID}, Principal: operator()}, func(provision.Event) {})
		if err != nil || len(items) != 1 || !items[0].Done {
			t.Errorf("Cleanup: %+v, %v", items, err)
		}
	})
	return &bottle{suite: s, live: live, steps: steps}
}

// bottle is a live one.
type bottle struct {
	*suite

	live  *provision.Bottle
	steps []call
}

// run runs a command as somebody and returns what it printed, on both streams,
// and how it ended.
func (b *bottle) run(t *testing.T, cmd backend.Command, stdin string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTime)
	defer cancel()
	var out joined // the two streams are written at once
	streams := backend.Streams{Stdout: &out, Stderr: &out}
	if stdin != "" {
		streams.Stdin = strings.NewReader(stdin)
	}
	res, err := b.manager.Exec(ctx, operator(), b.live.ID, cmd, streams)
	if err != nil || res.Status.StartError != "" {
		t.Fatalf("%q: %v, %s: %s", cmd.Argv, err, res.Status.StartError, out.String())
	}
	return out.String(), res.Status.Code
}

// joined is what several streams say, in the order of arrival.
type joined struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (j *joined) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *joined) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// sh runs a script as the agent, which has to end well, and returns what it
// printed.
func (b *bottle) sh(t *testing.T, script string) string {
	t.Helper()
	out, code := b.run(t, backend.Command{Argv: []string{"sh", "-c", script}}, "")
	if code != 0 {
		t.Fatalf("%s: ended with %d: %s", script, code, out)
	}
	return out
}

// read reads a file of the guest.
func (b *bottle) read(t *testing.T, path string) string {
	t.Helper()
	content, size, err := b.manager.ReadFile(t.Context(), operator(), b.live.ID, path, 4<<20)
	if err != nil || int64(len(content)) != size {
		t.Fatalf("%s has %d bytes, of which %d were read: %v", path, size, len(content), err)
	}
	return string(content)
}

// nowhere searches what a bottle leaves on this host for credentials.
func nowhere(t *testing.T, dir string, credentials ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		files++
		for _, c := range credentials {
			if strings.Contains(string(data), c) {
				t.Errorf("%s holds a credential", path)
			}
		}
		return err
	})
	if err != nil || files < 3 {
		t.Errorf("searched %d files of the bottle's state: %v", files, err)
	}
}

// lines are a text's, sorted, without empty ones.
func lines(text string) []string {
	out := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	slices.Sort(out)
	return out
}
