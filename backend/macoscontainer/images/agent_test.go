package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
)

// project is a directory with a Dockerfile in it.
func project(t *testing.T, more map[string]string) (dir string, spec backend.ImageSpec) {
	t.Helper()
	dir = lay(t, t.TempDir(), map[string]string{"Dockerfile": "FROM base\nCOPY . /\n", "file": "one"})
	lay(t, dir, more)
	return dir, backend.ImageSpec{Dockerfile: filepath.Join(dir, "Dockerfile")}
}

// left are the staging directories that are still there.
func left(t *testing.T, i *Images) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(i.cfg.CacheDir, stagePrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestPrepareBuilds(t *testing.T) {
	engine := newFake()
	i := newImages(t, engine, env{})
	dir, spec := project(t, map[string]string{"sub/b": "two", "out": "->/etc/passwd"})
	var staged []string
	engine.build = func(req cli.BuildRequest) (cli.Image, error) {
		staged = list(t, req.Context)
		text, err := os.ReadFile(req.Dockerfile)
		if err != nil || string(text) != "FROM base\nCOPY . /\n" {
			t.Errorf("Dockerfile %q, %v", text, err)
		}
		fmt.Fprintf(req.Progress, "#1 \x1b[1mstep\x1b[0m one\n#2 step")
		fmt.Fprintf(req.Progress, " two\r\n\n#3 last")
		return arm64Image(), nil
	}
	var progress bytes.Buffer
	ref, err := i.Prepare(t.Context(), spec, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^bottle-mcp\.invalid/agent:[0-9a-f]{32}$`).MatchString(ref) {
		t.Errorf("reference %q", ref)
	}
	req := engine.builds[0]
	if req.Tag != ref || req.Platform != "linux/arm64" || !slices.Equal(req.DNS, []string{"10.1.1.1"}) || req.NoCache {
		t.Errorf("request %+v", req)
	}
	if strings.HasPrefix(req.Context, dir) || !strings.HasPrefix(req.Context, i.cfg.CacheDir) {
		t.Errorf("the context is not staged: %s", req.Context)
	}
	want := []string{"-rw-r--r-- Dockerfile FROM base\nCOPY . /\n", "-rw-r--r-- file one", "drwxr-xr-x sub", "-rw-r--r-- sub/b two"}
	if !slices.Equal(staged, want) {
		t.Errorf("staged %q, want %q", staged, want)
	}
	wantLog := "left out of the build context: out: it leads out of the context\n#1 step one\n#2 step two\n#3 last\n"
	if progress.String() != wantLog {
		t.Errorf("progress %q, want %q", progress.String(), wantLog)
	}
	if found := left(t, i); len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
	t.Run("once", func(t *testing.T) {
		again, err := i.Prepare(t.Context(), spec, nil)
		if err != nil || again != ref || len(engine.builds) != 1 {
			t.Errorf("Prepare = %q, %v after %d builds", again, err, len(engine.builds))
		}
	})
	t.Run("anew when something changes", func(t *testing.T) {
		seen := map[string]bool{ref: true}
		for name, change := range map[string]func(){
			"context": func() { lay(t, dir, map[string]string{"file": "two"}) },
			"Dockerfile": func() {
				spec.Context = dir
				spec.Dockerfile = filepath.Join(lay(t, t.TempDir(), map[string]string{"d": "FROM other"}), "d")
			},
			"platform": func() { i.cfg.Architecture = "riscv64" },
		} {
			engine.build = func(cli.BuildRequest) (cli.Image, error) {
				return cli.Image{Variants: []cli.Variant{{OS: "linux", Architecture: i.cfg.Architecture}}}, nil
			}
			change()
			got, err := i.Prepare(t.Context(), spec, nil)
			if err != nil || seen[got] {
				t.Errorf("%s: Prepare = %q, %v", name, got, err)
			}
			seen[got] = true
		}
	})
}

func TestPrepareDefault(t *testing.T) {
	dockerfile := filepath.Join(lay(t, t.TempDir(), map[string]string{"D": "FROM mine"}), "D")
	for name, tc := range map[string]struct {
		settings env
		text     string // of the Dockerfile that is built
		ref      string
		failure  []string
	}{
		"embedded":        {env{}, string(defaultDockerfile), "", nil},
		"Dockerfile":      {env{EnvAgentDockerfile: dockerfile}, "FROM mine", "", nil},
		"image":           {env{EnvAgentImage: "mine:1"}, "", "mine:1", nil},
		"absent image":    {env{EnvAgentImage: "mine:2"}, "", "", []string{EnvAgentImage, "container image pull --platform linux/arm64 mine:2"}},
		"both":            {env{EnvAgentImage: "mine:1", EnvAgentDockerfile: dockerfile}, "", "", []string{EnvAgentImage, EnvAgentDockerfile, "leave one out"}},
		"relative":        {env{EnvAgentDockerfile: "D"}, "", "", []string{EnvAgentDockerfile, "absolute"}},
		"no such file":    {env{EnvAgentDockerfile: dockerfile + "x"}, "", "", []string{EnvAgentDockerfile, "no such file"}},
		"another machine": {env{EnvAgentImage: "amd:1"}, "", "", []string{EnvAgentImage, "amd:1 is for linux/amd64", "linux/arm64"}},
	} {
		t.Run(name, func(t *testing.T) {
			engine := newFake()
			engine.images["mine:1"] = arm64Image()
			engine.images["amd:1"] = cli.Image{Variants: []cli.Variant{{OS: "linux", Architecture: "amd64"}}}
			var text []byte
			engine.build = func(req cli.BuildRequest) (cli.Image, error) {
				var err error
				text, err = os.ReadFile(req.Dockerfile)
				return arm64Image(), err
			}
			ref, err := newImages(t, engine, tc.settings).Prepare(t.Context(), backend.ImageSpec{}, nil)
			if tc.failure != nil {
				mustContain(t, err, tc.failure...)
				if len(engine.changes()) > 0 {
					t.Errorf("changes %v", engine.changes())
				}
				return
			}
			if err != nil || string(text) != tc.text || tc.ref != "" && ref != tc.ref {
				t.Errorf("Prepare = %q, %v; built %q", ref, err, text)
			}
		})
	}
}

func TestDefaultDockerfile(t *testing.T) {
	for _, want := range []string{
		"FROM debian:stable-slim\n", "ca-certificates", "curl", "git", "python3-minimal", "ripgrep", "less", "procps", "openssh-client",
		"--uid 1000", "--gid 1000", backend.AgentHome, backend.GuestWorkspace, "USER " + backend.AgentUser + "\n",
	} {
		if !bytes.Contains(defaultDockerfile, []byte(want)) {
			t.Errorf("it lacks %q", want)
		}
	}
	if len(defaultDockerfile) > maxDockerfile {
		t.Errorf("%d bytes are too many", len(defaultDockerfile))
	}
}

func TestPrepareReference(t *testing.T) {
	engine := newFake()
	engine.images["mine:1"] = arm64Image()
	i := newImages(t, engine, env{EnvAgentImage: "unused:1"})
	if ref, err := i.Prepare(t.Context(), backend.ImageSpec{Reference: "mine:1"}, nil); err != nil || ref != "mine:1" || len(engine.changes()) > 0 {
		t.Errorf("Prepare = %q, %v, %v", ref, err, engine.changes())
	}
	for _, ref := range []string{"--all", "a b", "a\nb", " x", strings.Repeat("a", 256), "a;b", "$x"} {
		_, err := i.Prepare(t.Context(), backend.ImageSpec{Reference: ref}, nil)
		mustContain(t, err, "not an image reference")
	}
	_, err := i.Prepare(t.Context(), backend.ImageSpec{Reference: "mine:1", Context: "/x"}, nil)
	mustContain(t, err, "leave one out")
}

func TestPrepareBadRecipe(t *testing.T) {
	dir, _ := project(t, map[string]string{
		"big": "FROM x\n" + strings.Repeat("#", 16<<10-7), "fits": "FROM x\n" + strings.Repeat("#", 16<<10-8), "empty": " \n\t",
	})
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, tc := range map[string]struct {
		spec backend.ImageSpec
		want []string // nil = it is built
	}{
		"16 KiB":               {backend.ImageSpec{Dockerfile: at("big")}, []string{"16 KiB", at("big")}},
		"one byte less":        {backend.ImageSpec{Dockerfile: at("fits")}, nil},
		"empty":                {backend.ImageSpec{Dockerfile: at("empty")}, []string{"empty", "FROM"}},
		"a FIFO":               {backend.ImageSpec{Dockerfile: fifo}, []string{"not a file"}},
		"a device":             {backend.ImageSpec{Dockerfile: "/dev/zero"}, []string{"not a file"}},
		"a directory":          {backend.ImageSpec{Dockerfile: dir}, []string{"not a file"}},
		"context is a file":    {backend.ImageSpec{Dockerfile: at("Dockerfile"), Context: at("file")}, []string{"not a directory"}},
		"context is missing":   {backend.ImageSpec{Dockerfile: at("Dockerfile"), Context: at("none")}, []string{"no such file"}},
		"context is relative":  {backend.ImageSpec{Dockerfile: at("Dockerfile"), Context: "x"}, []string{"absolute"}},
		"context without file": {backend.ImageSpec{Context: dir}, []string{"name the Dockerfile"}},
	} {
		t.Run(name, func(t *testing.T) {
			engine := newFake()
			_, err := newImages(t, engine, env{}).Prepare(t.Context(), tc.spec, nil)
			if tc.want == nil {
				if err != nil || len(engine.builds) != 1 {
					t.Errorf("%v after %d builds", err, len(engine.builds))
				}
				return
			}
			mustContain(t, err, append(tc.want, "the bottle's image")...)
			if len(engine.calls) > 0 {
				t.Errorf("calls %v", engine.calls)
			}
		})
	}
}

func TestBuildFails(t *testing.T) {
	engine := newFake()
	i := newImages(t, engine, env{})
	_, spec := project(t, nil)
	engine.build = func(req cli.BuildRequest) (cli.Image, error) {
		for n := range 100 {
			fmt.Fprintf(req.Progress, "line %d\n", n)
		}
		fmt.Fprint(req.Progress, "\x1b[31mE: no\u202e such \x07package\x1b[0m"+strings.Repeat("x", 1<<20))
		return cli.Image{}, &cli.Error{Command: "build", Kind: cli.KindOther, Code: 1, Message: "failed to solve"}
	}
	_, err := i.Prepare(t.Context(), spec, nil)
	var failed *BuildError
	if !errors.As(err, &failed) {
		t.Fatalf("error %v", err)
	}
	var engineError *cli.Error
	if !errors.As(err, &engineError) {
		t.Error("the engine's error is lost")
	}
	if len(failed.Tail) != tailLines || failed.Tail[0] != "line 81" {
		t.Errorf("%d lines from %q", len(failed.Tail), failed.Tail[0])
	}
	last := failed.Tail[tailLines-1]
	if !strings.HasPrefix(last, "E: no\uFFFD such \uFFFDpackagexxx") || len([]rune(last)) > maxLine+1 {
		t.Errorf("last line %.60q of %d", last, len(last))
	}
	mustContain(t, err, spec.Dockerfile, "failed to solve", "its log ends:\nline 81\n")
	if found := left(t, i); len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
}

func TestPrepareFails(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*fakeEngine, *Images)
		want   []string
	}{
		"engine is down":  {func(e *fakeEngine, _ *Images) { e.inspect = brokenEngine() }, []string{"look for the agent image"}},
		"builder is down": {func(e *fakeEngine, _ *Images) { e.status = brokenEngine() }, []string{"ask for the builder"}},
		"bad resolvers":   {func(_ *fakeEngine, i *Images) { i.cfg.LookupEnv = env{EnvDNS: "x"}.lookup }, []string{EnvDNS}},
		"no cache":        {func(_ *fakeEngine, i *Images) { i.cfg.CacheDir = "/dev/null/x" }, []string{"cache directory"}},
		"wrong platform": {func(e *fakeEngine, _ *Images) {
			e.build = func(cli.BuildRequest) (cli.Image, error) {
				return cli.Image{Variants: []cli.Variant{{OS: "linux", Architecture: "amd64"}}}, nil
			}
		}, []string{"was built but is not there for linux/arm64"}},
		"built and gone": {func(e *fakeEngine, _ *Images) {
			e.build = func(req cli.BuildRequest) (cli.Image, error) { return cli.Image{}, nil }
		}, []string{"was built but is not there"}},
		"nowhere to stage": {func(_ *fakeEngine, i *Images) { i.host.lossy = []string{"/"} }, []string{"stage the build context", "outside /tmp"}},
		"no home": {func(_ *fakeEngine, i *Images) {
			i.host.lossy, i.host.userCache = []string{"/"}, func() (string, error) { return "", errors.New("no home") }
		}, []string{"no home"}},
	} {
		t.Run(name, func(t *testing.T) {
			engine := newFake()
			i := newImages(t, engine, env{})
			tc.change(engine, i)
			_, spec := project(t, nil)
			ref, err := i.Prepare(t.Context(), spec, nil)
			mustContain(t, err, tc.want...)
			if ref != "" {
				t.Errorf("a name beside the error: %s", ref)
			}
			if found := left(t, i); len(found) > 0 {
				t.Errorf("left behind: %v", found)
			}
		})
	}
}

func TestContextThatChanges(t *testing.T) {
	engine := newFake()
	dir, spec := project(t, nil)
	engine.exec = func(_ context.Context, _ []string, out func(string)) (cli.ExecResult, error) {
		lay(t, dir, map[string]string{"file": "changed meanwhile"})
		out("192.0.2.1 x\n")
		return cli.ExecResult{}, nil
	}
	i := newImages(t, engine, env{})
	_, err := i.Prepare(t.Context(), spec, nil)
	mustContain(t, err, "changed while it was read", dir)
	if len(engine.builds) > 0 || len(left(t, i)) > 0 {
		t.Errorf("built %d times, left %v", len(engine.builds), left(t, i))
	}
}

// Servers that start together build once.
func TestPrepareTogether(t *testing.T) {
	const servers = 3
	engine := newFake()
	_, spec := project(t, nil)
	first := newImages(t, engine, env{})
	engine.build = func(cli.BuildRequest) (cli.Image, error) {
		for engine.count("inspect") < servers+1 { // all have found it missing
			time.Sleep(time.Millisecond)
		}
		return arm64Image(), nil
	}
	errs := make([]error, servers)
	var wg sync.WaitGroup
	for n := range servers {
		i := newImages(t, engine, env{})
		i.cfg.CacheDir = first.cfg.CacheDir
		wg.Go(func() { _, errs[n] = i.Prepare(t.Context(), spec, nil) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || len(engine.builds) != 1 {
		t.Errorf("%d builds, %v", len(engine.builds), err)
	}
}

// writerFunc is an io.Writer.
type writerFunc func(string)

func (w writerFunc) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), errors.New("nobody reads this") // which is no reason to fail
}

func TestPrepareWaits(t *testing.T) {
	engine := newFake()
	_, spec := project(t, nil)
	i := newImages(t, engine, env{})
	unlock, err := i.lock(t.Context(), builderLock, nil)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	_, err = i.Prepare(t.Context(), spec, writerFunc(func(line string) {
		told = append(told, line)
		unlock()
	}))
	if err != nil || !slices.Equal(told, []string{"waiting for another build to end\n"}) || len(engine.builds) != 1 {
		t.Errorf("told %q, %d builds, %v", told, len(engine.builds), err)
	}
	t.Run("and gives up", func(t *testing.T) {
		if unlock, err = i.lock(t.Context(), builderLock, nil); err != nil {
			t.Fatal(err)
		}
		defer unlock()
		lay(t, filepath.Dir(spec.Dockerfile), map[string]string{"file": "other"})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if ref, err := i.Prepare(ctx, spec, nil); !errors.Is(err, context.DeadlineExceeded) || ref != "" {
			t.Errorf("Prepare = %q, %v", ref, err)
		}
	})
}

func TestStagingBase(t *testing.T) {
	engine := newFake()
	i := newImages(t, engine, env{})
	cache, err := i.cache()
	if err != nil {
		t.Fatal(err)
	}
	i.host.lossy = []string{cache + "/"}
	_, spec := project(t, nil)
	if _, err := i.Prepare(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	user, err := i.host.userCache()
	if err != nil {
		t.Fatal(err)
	}
	if got := engine.builds[0].Context; !strings.HasPrefix(got, filepath.Join(user, "bottle-mcp", stagePrefix)) {
		t.Errorf("staged in %s", got)
	}
	if entries, err := os.ReadDir(filepath.Join(user, "bottle-mcp")); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestLossyDirs(t *testing.T) {
	i := newImages(t, newFake(), env{})
	i.host.lossy = lossyDirs("darwin")
	for path, want := range map[string]bool{
		"/tmp": true, "/tmp/x": true, "/private/tmp/x": true, "/var/folders/x": true, "/private/var/x": true,
		"/Users/me/.local/state": false, "/tmpfiles": false, "/Volumes/tmp/x": false,
	} {
		if got := i.lossy(path); got != want {
			t.Errorf("lossy(%s) = %v", path, got)
		}
	}
	if lossyDirs("linux") != nil {
		t.Error("a Linux host loses nothing")
	}
}

func TestSweepStages(t *testing.T) {
	dir := lay(t, t.TempDir(), map[string]string{"build-old/x": "", "build-new/x": "", "build-file": "", "other-old/x": ""})
	long := time.Now().Add(-2 * staleStage)
	for _, name := range []string{"build-old", "build-file", "other-old"} {
		if err := os.Chtimes(filepath.Join(dir, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	sweepStages(dir)
	sweepStages(filepath.Join(dir, "none"))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"build-file", "build-new", "other-old"}; !slices.Equal(names, want) {
		t.Errorf("left %v, want %v", names, want)
	}
}
