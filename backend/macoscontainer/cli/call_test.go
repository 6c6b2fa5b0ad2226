package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/command"
)

func TestCallsGiveWhatTheProgramPrints(t *testing.T) {
	check := func(name string, got, want any, err error) {
		t.Helper()
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s = %v, %v; want %v", name, got, err, want)
		}
	}
	prints := func(text string) *program { return newProgram(t, reply{Stdout: text, Stderr: "warning: slow\n"}) }
	ctx := t.Context()

	version, err := prints("container CLI version 1.2.2 (build: release, commit: 0190097)\n").Version(ctx)
	check("Version", version, "1.2.2", err)
	version, err = prints("container CLI version 1.4.1-beta.2 (build: release, commit: unspeci)\n").Version(ctx)
	check("Version of a beta", version, "1.4.1-beta.2", err)
	versions, err := prints(string(fixture(t, "system-version-1.2.2"))).SystemVersion(ctx)
	check("SystemVersion", versions, Versions{"1.2.2", "1.2.2"}, err)
	id, err := prints("c1\n").Run(ctx, RunRequest{Name: "c1", Image: "i", UID: -1, GID: -1})
	check("Run", id, "c1", err)
	list, err := prints(string(fixture(t, "container-list-1.2.2"))).List(ctx)
	check("List", list, []Container{sidecar()}, err)
	one, err := prints(string(fixture(t, "container-inspect-1.2.2"))).Inspect(ctx, "sbx-7f3a-sidecar")
	check("Inspect", one, sidecar(), err)
	networks, err := prints(string(fixture(t, "network-list-1.2.2"))).NetworkList(ctx)
	check("NetworkList", len(networks), 2, err)
	inner, err := prints(string(fixture(t, "network-inspect-1.2.2"))).NetworkInspect(ctx, "sbx-7f3a-int")
	check("NetworkInspect", inner.Internal, true, err)
	image, err := prints(string(fixture(t, "image-inspect-1.2.2"))).ImageInspect(ctx, "sidecar:1.4")
	check("ImageInspect", image.Digest, digest0, err)
	images, err := prints(string(fixture(t, "image-list-1.2.2"))).ImageList(ctx)
	check("ImageList", len(images), 1, err)
	refs, err := prints("a.invalid/x:1\n\nLoaded all images\nb.invalid/y@sha256:00\n").ImageLoad(ctx, "/x.tar")
	check("ImageLoad", refs, []string{"a.invalid/x:1", "b.invalid/y@sha256:00"}, err)
	builder, err := prints(string(fixture(t, "builder-status-1.2.2"))).BuilderStatus(ctx)
	check("BuilderStatus", builder, Builder{State: "running", ID: "buildkit", Nameservers: []string{"1.1.1.1"}}, err)
	for _, text := range []string{"[]\n", "builder is not running\n"} {
		builder, err = prints(text).BuilderStatus(ctx)
		check("BuilderStatus without one", builder, Builder{}, err)
	}
	log, err := prints("one\ntwo\x1b[2J\xff\n").Logs(ctx, "c1", 5)
	check("Logs", log, "one\ntwo\uFFFD[2J\uFFFD\n", err)
}

func TestSystemStatus(t *testing.T) {
	tests := []struct {
		name  string
		reply reply
		want  Status
		kind  Kind
	}{
		{"running", reply{Stdout: string(fixture(t, "system-status-1.2.2"))}, Status{true, "running"}, ""},
		{"running, 1.3", reply{Stdout: string(fixture(t, "system-status-1.3.1"))}, Status{true, "running"}, ""},
		{"down", reply{Stdout: string(fixture(t, "system-status-down-1.2.2")), Code: 1}, Status{false, "unregistered"}, ""},
		{"down, 1.3", reply{Stdout: string(fixture(t, "system-status-down-1.3.1")), Code: 1}, Status{false, "unregistered"}, ""},
		{"not answering", reply{Stdout: `{"status":"not running"}`, Code: 1}, Status{false, "not running"}, ""},
		{"too old", reply{Stderr: "Error: Unknown option '--format'\nUsage: container system status\n", Code: 64}, Status{}, KindUsage},
		{"says both", reply{Stdout: `{"status":"running"}`, Stderr: `Error: unknown: "x"`, Code: 1}, Status{}, KindOther},
		{"a table", reply{Stdout: "apiserver is running\n"}, Status{}, KindOutput},
		{"cut", reply{Stdout: `{"status":"run`}, Status{}, KindOutput},
		{"hangs after it", reply{Stdout: `{"status":"not running"}`, Hang: true}, Status{}, KindTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t, tt.reply)
			if tt.reply.Hang {
				p.cfg.Scale = 0.05
			}
			got, err := p.SystemStatus(t.Context())
			if got != tt.want || KindOf(err) != tt.kind {
				t.Errorf("got %+v, %v; want %+v, kind %q", got, err, tt.want, tt.kind)
			}
		})
	}
}

// TestCallsFailWithTheirKind: every wrapper over every way to fail.
func TestCallsFailWithTheirKind(t *testing.T) {
	calls := map[string]func(context.Context, *CLI) error{
		"Version":        func(ctx context.Context, c *CLI) error { _, err := c.Version(ctx); return err },
		"SystemStatus":   func(ctx context.Context, c *CLI) error { _, err := c.SystemStatus(ctx); return err },
		"SystemVersion":  func(ctx context.Context, c *CLI) error { _, err := c.SystemVersion(ctx); return err },
		"NetworkList":    func(ctx context.Context, c *CLI) error { _, err := c.NetworkList(ctx); return err },
		"NetworkInspect": func(ctx context.Context, c *CLI) error { _, err := c.NetworkInspect(ctx, "n1"); return err },
		"ImageInspect":   func(ctx context.Context, c *CLI) error { _, err := c.ImageInspect(ctx, "i"); return err },
		"ImageList":      func(ctx context.Context, c *CLI) error { _, err := c.ImageList(ctx); return err },
		"Run":            run(func(*RunRequest) {}),
		"Inspect":        func(ctx context.Context, c *CLI) error { _, err := c.Inspect(ctx, "c1"); return err },
		"List":           func(ctx context.Context, c *CLI) error { _, err := c.List(ctx); return err },
		"BuilderStatus":  func(ctx context.Context, c *CLI) error { _, err := c.BuilderStatus(ctx); return err },
	}
	faults := []struct {
		name  string
		reply reply
		kind  Kind
	}{
		{"garbage", reply{Stdout: "\x00garbage"}, KindOutput},
		{"nothing", reply{}, KindOutput},
		{"a failure without words", reply{Code: 1}, KindOther},
		{"no daemon", reply{Stderr: "Error: interrupted: \"XPC connection error: Connection invalid\"\n", Code: 1}, KindUnavailable},
		{"usage", reply{Stderr: "Error: Unknown option '-x'\nUsage: container\n", Code: 64}, KindUsage},
		{"endless output", reply{Flood: true}, KindOutput},
	}
	for name, call := range calls {
		for _, fault := range faults {
			t.Run(name+"/"+fault.name, func(t *testing.T) {
				e := wantKind(t, call(t.Context(), newProgram(t, fault.reply).CLI), fault.kind)
				if e.Code != fault.reply.Code && !fault.reply.Flood {
					t.Errorf("code %d, want %d", e.Code, fault.reply.Code)
				}
			})
		}
	}
}

func TestCallsEndWithTheirDeadline(t *testing.T) {
	p := newProgram(t, reply{Hang: true})
	p.cfg.Scale = 0.02
	began := time.Now()
	_, err := p.List(t.Context())
	if e := wantKind(t, err, KindTimeout); !errors.Is(e, context.DeadlineExceeded) || e.Code != -1 {
		t.Errorf("error %+v", e)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	t.Run("and with ctx", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(200*time.Millisecond, cancel)
		p := newProgram(t, reply{Hang: true})
		_, err := p.Run(ctx, RunRequest{Image: "i", UID: -1, GID: -1})
		if e := wantKind(t, err, KindKilled); !errors.Is(e, context.Canceled) {
			t.Errorf("error %+v", e)
		}
	})
}

// TestEveryCallHasADeadline: a program that hangs holds nobody for good.
func TestEveryCallHasADeadline(t *testing.T) {
	for name, sample := range samplers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t, reply{Hang: true})
			p.cfg.Scale = 0.001
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if name == "Exec" { // whose commands may take as long as they want
				ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
			}
			defer cancel()
			call, _ := sample(&generator{Rand: rand.New(rand.NewPCG(1, 1))})
			began := time.Now()
			wantKind(t, call(ctx, p.CLI), KindTimeout)
			if took := time.Since(began); took > 20*time.Second || len(p.argvs) != 1 {
				t.Errorf("took %v and %d calls", took, len(p.argvs))
			}
		})
	}
}

func TestEnvironmentIsScrubbed(t *testing.T) {
	p := newProgram(t, reply{Environ: true})
	all := []string{
		"HOME=/h", "PATH=/bin", "TMPDIR=/t", "USER=u", "LOGNAME=u", "LANG=C.UTF-8", "LC_ALL=C", fakeEnv + "=" + p.dir,
		"CONTAINER_DEBUG=1", "CONTAINER_DEFAULT_PLATFORM=linux/amd64", "SSH_AUTH_SOCK=/s", "BUILDKIT_COLORS=1", "NO_COLOR=1",
		"HTTPS_PROXY=http://p", "https_proxy=http://p", "XDG_CONFIG_HOME=/x", "GITHUB_TOKEN=s3cret", "DYLD_INSERT_LIBRARIES=/x", "odd",
	}
	p.env = scrub(all)
	var out strings.Builder
	if _, err := p.Exec(t.Context(), ExecRequest{Container: "c1", Argv: []string{"env"}, UID: -1, GID: -1, Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(out.String(), "\n"); !slices.Equal(got, all[:8]) {
		t.Errorf("environment = %q", got)
	}
	if got := scrub(nil); got == nil || len(got) != 0 {
		t.Error("an empty environment must not mean this process's")
	}
}

func TestExec(t *testing.T) {
	req := func() ExecRequest { return ExecRequest{Container: "c1", Argv: []string{"x"}, UID: -1, GID: -1} }
	t.Run("streams", func(t *testing.T) {
		var out, errs strings.Builder
		r := req()
		r.Interactive, r.Stdin, r.Stdout, r.Stderr = true, strings.NewReader("input"), &out, &errs
		res, err := newProgram(t, reply{Stdout: "out ", Stderr: "words", Cat: true, Code: 7}).Exec(t.Context(), r)
		if err != nil || res.Code != 7 || res.Failure != nil || out.String() != "out input" || errs.String() != "words" {
			t.Errorf("result %+v, %v; stdout %q, stderr %q", res, err, out.String(), errs.String())
		}
	})
	t.Run("without input", func(t *testing.T) {
		var out strings.Builder
		r := req()
		r.Stdout = &out
		if res, err := newProgram(t, reply{Cat: true, Stdout: "x"}).Exec(t.Context(), r); err != nil || res.Code != 0 || out.String() != "x" {
			t.Errorf("result %+v, %v; stdout %q", res, err, out.String())
		}
	})
	statuses := []struct {
		name   string
		stderr string
		code   int
		kind   Kind // of the Failure; "" = none
	}{
		{"success", "", 0, ""},
		{"the command's 1", "no such file\n", 1, ""},
		{"the command's 64", "", 64, ""},
		{"the command's 137", "Error: mine\n", 137, ""},
		{"no container", "Error: notFound: \"container not found: c1\"\n", 1, KindNotFound},
		{"not running", "last words\nError: invalidState: \"container c1 is not running\"\n", 1, KindState},
		{"no daemon", "Error: interrupted: \"XPC connection error: x\"\nEnsure container system service has been started with `container system start`.\n", 1, KindUnavailable},
		{"usage", "Error: Unknown option '--x'\nUsage: container exec\n", 64, KindUsage},
		{"words of the command's about the daemon", "XPC connection error\nError: invalidState: \"x\"\n", 1, KindState},
	}
	for _, tt := range statuses {
		t.Run(tt.name, func(t *testing.T) {
			res, err := newProgram(t, reply{Stderr: tt.stderr, Code: tt.code}).Exec(t.Context(), req())
			if err != nil || res.Code != tt.code || (res.Failure == nil) != (tt.kind == "") {
				t.Fatalf("result %+v, %v", res, err)
			}
			if res.Failure != nil && (res.Failure.Kind != tt.kind || res.Failure.Object != "c1" || res.Failure.Code != tt.code) {
				t.Errorf("failure %+v, want kind %s", res.Failure, tt.kind)
			}
		})
	}
	t.Run("no deadline but ctx", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		p := newProgram(t, reply{Hang: true})
		p.cfg.Scale = 1e-9
		began := time.Now()
		_, err := p.Exec(ctx, req())
		wantKind(t, err, KindTimeout)
		if took := time.Since(began); took < 250*time.Millisecond || took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
	t.Run("signals", func(t *testing.T) {
		signals := make(chan os.Signal, 1)
		r := req()
		r.Signals = signals
		time.AfterFunc(300*time.Millisecond, func() { signals <- syscall.SIGTERM })
		_, err := newProgram(t, reply{Hang: true}).Exec(t.Context(), r)
		if e := wantKind(t, err, KindKilled); !strings.Contains(e.Message, "terminated") {
			t.Errorf("error %+v", e)
		}
	})
	t.Run("a reader that fails", func(t *testing.T) {
		r := req()
		r.Stdout = brokenWriter{}
		_, err := newProgram(t, reply{Flood: true}).Exec(t.Context(), r)
		if !errors.Is(err, errBroken) {
			t.Errorf("error %v", err)
		}
	})
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestBuild(t *testing.T) {
	req := BuildRequest{Tag: "t:1", Dockerfile: writeDockerfile(t, 5), Context: "/ctx"}
	t.Run("streams its log", func(t *testing.T) {
		var log strings.Builder
		r := req
		r.Progress = &log
		tags, err := newProgram(t, reply{Stdout: "docker.io/library/t:1\n", Stderr: "#1 FROM x\n"}).Build(t.Context(), r)
		if err != nil || !slices.Equal(tags, []string{"docker.io/library/t:1"}) || log.String() != "#1 FROM x\n" {
			t.Errorf("tags %q, %v, log %q", tags, err, log.String())
		}
	})
	t.Run("fails with its log", func(t *testing.T) {
		_, err := newProgram(t, reply{Stderr: "#4 RUN false\n#4 ERROR\nError: internalError: \"failed to solve\"\n", Code: 1}).Build(t.Context(), req)
		e := wantKind(t, err, KindOther)
		if !strings.Contains(e.Stderr, "#4 RUN false") || e.Message != `internalError: "failed to solve"` {
			t.Errorf("error %+v", e)
		}
	})
	t.Run("without a tag", func(t *testing.T) {
		_, err := newProgram(t, reply{}).Build(t.Context(), req)
		wantKind(t, err, KindOutput)
	})
}

func TestRunGivesTheRightID(t *testing.T) {
	for _, text := range []string{"", "other\n", "Error\nfoo bar\n", "--help\n"} {
		_, err := newProgram(t, reply{Stdout: text}).Run(t.Context(), RunRequest{Name: "c1", Image: "i", UID: -1, GID: -1})
		wantKind(t, err, KindOutput)
	}
	id, err := newProgram(t, reply{Stdout: "fetching\n8d0ff3a4-6c0f-4d3e-9e64-0a3c1f5a7b11\n"}).Run(t.Context(), RunRequest{Image: "i", UID: -1, GID: -1})
	if err != nil || id != "8d0ff3a4-6c0f-4d3e-9e64-0a3c1f5a7b11" {
		t.Errorf("id %q, %v", id, err)
	}
}

// TestErrorsShowNoValues: neither the environment nor arguments nor input.
func TestErrorsShowNoValues(t *testing.T) {
	const secret = "s3cret-value"
	p := newProgram(t, reply{Code: 1, Stderr: "Error: unknown: \"x\"\n"}, reply{Flood: true}, reply{Hang: true})
	p.cfg.Scale = 0.005
	for range 3 {
		_, err := p.Run(t.Context(), RunRequest{
			Name: "c1", Image: "i", Env: []string{"TOKEN=" + secret}, Args: []string{secret}, UID: -1, GID: -1,
		})
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
			t.Errorf("error %+v", err)
		}
		var inner *command.Error
		if errors.As(err, &inner) && strings.Contains(inner.Args, secret) {
			t.Errorf("inner error %+v", inner)
		}
	}
}
