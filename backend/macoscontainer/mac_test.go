package macoscontainer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/backendtest"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/grammar"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/images"
	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
)

// envMac asks for the suite on a real Mac. It builds an image, launches real
// virtual machines, and reaches macAllowed and macCanary on the Internet.
const (
	envMac     = "BOTTLE_MCP_MAC"
	macAllowed = "example.com"
	macRefused = "example.org"
	macCanary  = "1.1.1.1"
)

// TestMac is the suite that closes the gap between the stand-in and a real Mac.
// docs/macos.md says how to run it and what to send back.
func TestMac(t *testing.T) {
	if os.Getenv(envMac) != "1" {
		t.Skip("needs a Mac with Apple's container: set " + envMac + "=1 there, see docs/macos.md")
	}
	m := &realMac{report: reportDir(t), twin: buildTwin(t, "cmd/bottle-mcp"), ask: buildTwin(t, "backend/backendtest/ask/program")}
	t.Run("check", m.check)
	t.Run("documents", m.documents)
	t.Run("refused lines", m.refusedLines)
	for _, topo := range []topology{twoNetwork, socket} {
		t.Run(string(topo), func(t *testing.T) {
			t.Run("job", func(t *testing.T) { m.job(t, topo) })
			t.Run("conformance", func(t *testing.T) {
				backendtest.Run(t, func(t *testing.T) backendtest.Bed {
					b := m.backend(t, topo)
					return backendtest.Bed{
						Backend: b, Owner: b.cfg.Owner, SecretPaths: []string{b.cfg.BottlesDir},
						Canary: macCanaryOf(topo), OwnRoot: true, LaunchTime: 30 * time.Second, Ask: m.ask,
					}
				})
			})
		})
	}
	t.Logf("what the engine printed is in %s", m.report)
}

func macCanaryOf(topo topology) string {
	if topo == socket {
		return ""
	}
	return macCanary
}

// reportDir keeps what the engine printed, for those who have no Mac.
func reportDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bottle-mcp-mac-") //nolint:usetesting // it outlives the test
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// buildTwin builds a program that guests run.
func buildTwin(t *testing.T, command string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(command)+"-linux-arm64")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, "github.com/bottle-mcp/bottle-mcp/"+command)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the guests' program: %v: %s", err, out)
	}
	return path
}

type realMac struct{ report, twin, ask string }

// engine runs the container program that the backend runs.
func (m *realMac) engine(ctx context.Context, argv ...string) *exec.Cmd {
	name := os.Getenv(EnvProgram)
	if name == "" {
		name = "container"
	}
	return exec.CommandContext(ctx, name, argv...)
}

func (m *realMac) backend(t *testing.T, topo topology) *Backend {
	t.Helper()
	// The home's path is as long as a user's; a test's temporary one is longer.
	dir, err := os.MkdirTemp("/tmp", "bottle-") //nolint:usetesting // short, see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return New(Config{
		BottlesDir: filepath.Join(dir, "bottles"), Owner: "mac-" + filepath.Base(dir),
		LookupEnv: func(name string) (string, bool) {
			switch name {
			case EnvTopology:
				return string(topo), true
			case images.EnvLinuxBinary:
				return m.twin, true
			}
			return os.LookupEnv(name)
		},
	})
}

func (m *realMac) check(t *testing.T) {
	caps, err := m.backend(t, twoNetwork).Check(t.Context())
	var u *backend.UnavailableError
	if errors.As(err, &u) {
		for _, f := range u.Findings {
			t.Logf("%+v", f)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Log(runtime.GOOS, runtime.GOARCH, caps.Detail)
	for _, f := range caps.Findings {
		t.Logf("%+v", f)
	}
}

// documents holds what this release prints against the recorded schemas.
func (m *realMac) documents(t *testing.T) {
	for name, argv := range map[string][]string{
		"list --format json":           {"list", "--all", "--format", "json"},
		"network list --format json":   {"network", "list", "--format", "json"},
		"network inspect":              {"network", "inspect", "default"},
		"image list --format json":     {"image", "list", "--format", "json"},
		"system status --format json":  {"system", "status", "--format", "json"},
		"system version --format json": {"system", "version", "--format", "json"},
		"builder status --format json": {"builder", "status", "--format", "json"},
	} {
		out, err := m.engine(t.Context(), argv...).Output()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		m.keep(t, strings.ReplaceAll(name, " ", "_")+".json", out)
		if err := grammar.ValidateOutput(name, out); err != nil {
			t.Errorf("%s is not what was recorded: %v", name, err)
		}
	}
}

func (m *realMac) keep(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.report, name), data, 0o600); err != nil {
		t.Error(err)
	}
}

// outside are lines outside the grammar: the real program must say so too.
var outside = [][]string{
	{"run", "-n5", "x"}, {"exec", "--cpus", "2", "x", "y"}, {"run", "--debug", "x"}, {"inspect", "---x"},
	{"list", "--format", "csv"}, {"run", "--cpus", "2.5", "x"}, {"network", "create", "--subnet", "x", "--", "bottle-never"},
	{"run", "--no-dns", "--dns", "1.1.1.1", "--", "x"}, {"exec", "--detach"}, {"image", "load", "--input"},
}

// TestOutside has the recorded grammar say of those lines what the real program
// is asked to say.
func TestOutside(t *testing.T) {
	for _, argv := range outside {
		_, err := grammar.Parse(argv)
		var refused *grammar.Refusal
		if !errors.As(err, &refused) || refused.Code != 64 {
			t.Errorf("container %q: %v, want a usage error", argv, err)
		}
	}
}

func (m *realMac) refusedLines(t *testing.T) {
	for _, argv := range outside {
		err := m.engine(t.Context(), argv...).Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 64 {
			t.Errorf("container %q: %v, want exit 64", argv, err)
		}
	}
}

// job is build, launch, exec, cp, the ways out, cleanup.
func (m *realMac) job(t *testing.T, topo topology) {
	b := m.backend(t, topo)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	image, err := b.PrepareImage(ctx, backend.ImageSpec{}, lines{t})
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	const id = "mac-job"
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := b.Remove(ctx, id); err != nil {
			t.Errorf("cleanup: %v", err)
		}
		if left, err := b.List(ctx); err != nil || len(left) != 0 {
			t.Errorf("left after cleanup: %+v, %v", left, err)
		}
	})
	cert, key, err := ca.NewAuthority(id, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	endpoints, err := b.StartSidecar(ctx, backend.SidecarSpec{
		ID: id, Owner: b.cfg.Owner, Services: []sidecars.Service{sidecars.Egress},
		Config:  sidecars.Config{Bottle: id, Routes: []sidecars.Route{{Host: macAllowed}}, CACert: string(cert)},
		Secrets: sidecars.Secrets{CAKey: key}, Expires: time.Now().Add(30 * time.Minute),
	})
	if err != nil {
		t.Fatalf("sidecar: %v", err)
	}
	_, err = b.StartAgent(ctx, backend.AgentSpec{ID: id, Image: image, CACert: cert, Env: []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + backend.AgentHome,
		"https_proxy=" + endpoints.Egress, "http_proxy=" + endpoints.Egress, "CURL_CA_BUNDLE=" + backend.GuestCABundle,
	}})
	if err != nil {
		t.Fatalf("agent: %v", err)
	}
	t.Logf("launched in %s, egress at %s", time.Since(start).Round(time.Millisecond), endpoints.Egress)
	for _, role := range []role{roleAgent, roleSidecar} {
		if out, err := m.engine(ctx, "inspect", role.name(id)).Output(); err == nil {
			m.keep(t, string(topo)+"_"+string(role)+".json", out)
			if err := grammar.ValidateOutput("inspect", out); err != nil {
				t.Errorf("inspect of the %s is not what was recorded: %v", role, err)
			}
		}
	}
	j := macJob{t: t, b: b, id: id, endpoints: endpoints}
	j.waysOut(ctx)
	j.copy(ctx)
	j.isolation(ctx, m, topo)
}

// lines is a build's log.
type lines struct{ t *testing.T }

func (l lines) Write(p []byte) (int, error) {
	l.t.Logf("build: %s", bytes.TrimSpace(p))
	return len(p), nil
}

type macJob struct {
	t         *testing.T
	b         *Backend
	id        backend.ID
	endpoints backend.Endpoints
}

func (j macJob) sh(ctx context.Context, script string) (backend.ExitStatus, string) {
	j.t.Helper()
	var out, words bytes.Buffer
	status, err := j.b.Exec(ctx, j.id, backend.Command{Argv: []string{"/bin/sh", "-c", script}}, backend.Streams{Stdout: &out, Stderr: &words})
	if err != nil {
		j.t.Fatalf("exec %q: %v", script, err)
	}
	return status, out.String() + words.String()
}

func (j macJob) waysOut(ctx context.Context) {
	tests := []struct {
		what, script string
		reached      bool
		want         string
	}{
		{"the sidecar's port", "curl -sS http://_egress.local/healthz", true, "ok " + string(j.id)},
		{"the allowed host by the proxy", "curl -sSf -o /dev/null -w %{http_code} https://" + macAllowed + "/", true, "200"},
		{"an unlisted host by the proxy", "curl -sSf https://" + macRefused + "/", false, "403"},
		{"a host directly", "curl -sSf --noproxy '*' -m 8 https://" + macCanary + "/", false, ""},
		{"a name directly", "curl -sSf --noproxy '*' -m 8 https://" + macAllowed + "/", false, ""},
	}
	for _, tt := range tests {
		status, out := j.sh(ctx, tt.script)
		if (status.Code == 0) != tt.reached || !strings.Contains(out, tt.want) {
			j.t.Errorf("%s: code %d, %q", tt.what, status.Code, out)
		}
	}
}

func (j macJob) copy(ctx context.Context) {
	status, out := j.sh(ctx, "id -u; umask; touch mine && stat -c %u:%g mine; cat /proc/self/status | grep -E 'CapEff|CapBnd|NoNewPrivs'")
	j.t.Logf("code %d: %s", status.Code, out)
	report, err := j.b.Copy(ctx, j.id, backend.CopySpec{Direction: backend.CopyOut, Path: "/etc/os-release", Writer: &bytes.Buffer{}})
	if err != nil || report.Bytes == 0 {
		j.t.Errorf("cp: %+v, %v", report, err)
	}
}

// isolation runs the self-test as every launch does, and keeps its findings.
func (j macJob) isolation(ctx context.Context, m *realMac, topo topology) {
	spec := selftest.For(capabilities(topo).Guest)
	spec.HostAddresses, spec.ProxyURL, spec.BottleID = backend.HostAddresses(), j.endpoints.Egress, string(j.id)
	spec.AllowedHost, spec.Canary = macAllowed, macCanaryOf(topo)
	for _, user := range []string{backend.AgentUser, "root"} {
		if user == "root" {
			spec.ExpectUID = 0
		}
		result, raw, err := probe(ctx, j.b, j.id, user, spec)
		m.keep(j.t, fmt.Sprintf("%s_selftest_%s.json", topo, user), raw)
		if err != nil {
			j.t.Errorf("self-test as %s: %v", user, err)
		}
		for _, c := range result.Failed() {
			if topo == twoNetwork && selftest.OfNetwork(c.Name) {
				// A launch would be refused here, and say so: that is what it is
				// for. Whether it is so on this Mac is what we want to know.
				j.t.Logf("FINDING self-test as %s: %s is red: %s", user, c.Name, c.Detail)
				continue
			}
			j.t.Errorf("self-test as %s: %s is red: %s", user, c.Name, c.Detail)
		}
	}
}

func probe(ctx context.Context, b *Backend, id backend.ID, user string, spec selftest.Spec) (selftest.Result, []byte, error) {
	input, err := json.Marshal(spec)
	if err != nil {
		return selftest.Result{}, nil, err
	}
	var out bytes.Buffer
	_, err = b.Exec(ctx, id, backend.Command{Argv: []string{backend.GuestBinary, "guest", "selftest"}, Dir: "/", User: user},
		backend.Streams{Stdin: bytes.NewReader(input), Stdout: &out})
	if err != nil {
		return selftest.Result{}, out.Bytes(), err
	}
	result, err := selftest.DecodeResult(out.Bytes(), spec)
	return result, out.Bytes(), err
}
