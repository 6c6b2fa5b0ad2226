package images

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
)

// fakeEngine is an engine without a machine behind it.
type fakeEngine struct {
	mu      sync.Mutex
	calls   []string
	images  map[string]cli.Image
	states  []cli.Builder // one per status; the last one stays
	builds  []cli.BuildRequest
	inspect error
	status  error
	stop    error
	start   error
	load    func(path string) (string, cli.Image, error)
	build   func(req cli.BuildRequest) (cli.Image, error)
	exec    func(ctx context.Context, argv []string, out func(string)) (cli.ExecResult, error)
}

func notFound() error { return &cli.Error{Command: "image inspect", Kind: cli.KindNotFound, Code: 1} }

// brokenEngine is how the engine answers when its service is down.
func brokenEngine() error {
	return &cli.Error{Command: "any", Kind: cli.KindUnavailable, Code: 1, Message: "XPC connection error"}
}

func (f *fakeEngine) call(words ...string) {
	f.calls = append(f.calls, strings.Join(words, " "))
}

// count is how often a command ran.
func (f *fakeEngine) count(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

// changes are the commands that change something.
func (f *fakeEngine) changes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.calls), func(c string) bool {
		return strings.HasPrefix(c, "inspect") || strings.HasPrefix(c, "status") || strings.HasPrefix(c, "exec")
	})
}

func (f *fakeEngine) ImageInspect(_ context.Context, ref string) (cli.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.call("inspect", ref)
	if f.inspect != nil {
		return cli.Image{}, f.inspect
	}
	img, ok := f.images[ref]
	if !ok {
		return cli.Image{}, notFound()
	}
	return img, nil
}

func (f *fakeEngine) ImageLoad(_ context.Context, path string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.call("load")
	ref, img, err := f.load(path)
	if err != nil {
		return nil, err
	}
	f.images[ref] = img
	return []string{ref}, nil
}

func (f *fakeEngine) Build(_ context.Context, req cli.BuildRequest) ([]string, error) {
	f.mu.Lock()
	f.call("build", strings.Join(req.DNS, ","))
	f.builds = append(f.builds, req)
	f.mu.Unlock()
	img, err := f.build(req) // others may ask meanwhile
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	f.images[req.Tag] = img
	return []string{req.Tag}, nil
}

func (f *fakeEngine) BuilderStatus(context.Context) (cli.Builder, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.call("status")
	if f.status != nil {
		return cli.Builder{}, f.status
	}
	b := f.states[0]
	if len(f.states) > 1 {
		f.states = f.states[1:]
	}
	return b, nil
}

func (f *fakeEngine) BuilderStart(_ context.Context, req cli.BuilderRequest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.call("start", strings.Join(req.DNS, ","))
	f.states = []cli.Builder{{State: "running", ID: "buildkit", Nameservers: req.DNS}}
	return f.start
}

func (f *fakeEngine) BuilderStop(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.call("stop")
	f.states = []cli.Builder{{State: "stopping", ID: "buildkit"}, {State: "stopped", ID: "buildkit"}}
	return f.stop
}

func (f *fakeEngine) Exec(ctx context.Context, req cli.ExecRequest) (cli.ExecResult, error) {
	f.mu.Lock()
	f.call("exec", strings.Join(req.Argv, " "))
	f.mu.Unlock()
	if req.Container != "buildkit" || req.Interactive {
		return cli.ExecResult{}, errors.New("not a lookup in the builder")
	}
	return f.exec(ctx, req.Argv, func(text string) { _, _ = req.Stdout.Write([]byte(text)) })
}

// env is a LookupEnv.
type env map[string]string

func (e env) lookup(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

// works is a builder with a getent that finds the name.
func works(_ context.Context, _ []string, out func(string)) (cli.ExecResult, error) {
	out("192.0.2.7   STREAM example.com\n")
	return cli.ExecResult{}, nil
}

func arm64Image() cli.Image {
	return cli.Image{Variants: []cli.Variant{{OS: "linux", Architecture: "arm64"}}}
}

// newFake is an engine with a running builder that builds everything.
func newFake() *fakeEngine {
	return &fakeEngine{
		images: map[string]cli.Image{}, exec: works,
		states: []cli.Builder{{State: "running", ID: "buildkit", Nameservers: []string{"10.1.1.1"}}},
		build:  func(cli.BuildRequest) (cli.Image, error) { return arm64Image(), nil },
	}
}

// newImages is for arm64 guests of a Mac that has nothing and knows nothing of
// its own build.
func newImages(t *testing.T, engine Engine, settings env) *Images {
	t.Helper()
	dir := t.TempDir()
	i := New(Config{
		CLI: engine, CacheDir: filepath.Join(dir, "cache"), LookupEnv: settings.lookup, Architecture: "arm64",
		ResolverText: func(context.Context) ([]byte, error) { return nil, nil },
		ResolvConf:   filepath.Join(dir, "none"),
	})
	i.poll = time.Millisecond
	i.host = host{
		system:     "linux", // with guests of another architecture: a Mac in all but its paths
		arch:       "amd64",
		executable: func() (string, error) { return filepath.Join(dir, "exe", "bottle-mcp"), nil },
		build:      func() (*debug.BuildInfo, bool) { return nil, false },
		userCache:  func() (string, error) { return filepath.Join(dir, "user"), nil },
	}
	return i
}

// program is a program of a module, built for linux.
type program struct{ dir, pkg, arch string }

func (p program) build(t testing.TB) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, p.pkg)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+p.arch, "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build a linux program: %v\n%s", err, text)
	}
	return out
}

// buildTwin makes a binary of this module.
func buildTwin(t testing.TB, arch string) string {
	t.Helper()
	return program{pkg: "./testdata/twin", arch: arch}.build(t)
}

func mustContain(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}
