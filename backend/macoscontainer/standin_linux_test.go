package macoscontainer

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/backendtest"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/images"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
)

// program is the static build of this program that guests of the tests run.
// The test binary itself may be linked with C.
var program = sync.OnceValues(func() (string, error) { return build("cmd/bottle-mcp") })

// askProgram is the guests' HTTP client.
var askProgram = sync.OnceValues(func() (string, error) { return build("backend/backendtest/ask/program") })

// build builds a command of this module for Linux.
func build(command string) (string, error) {
	dir, err := os.MkdirTemp("", "bottle-mcp-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, filepath.Base(command))
	cmd := exec.Command("go", "build", "-o", path, "github.com/bottle-mcp/bottle-mcp/"+command)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return path, nil
}

// standin is a backend on the stand-in, in a directory of its own.
type standin struct {
	*Backend

	world *world.World
	// settings are the operator's environment; tests may change it.
	settings map[string]string
	// theirs are objects of other people under a bottle's name.
	theirs []string
}

func newStandin(t *testing.T, settings map[string]string) *standin {
	t.Helper()
	w := world.New(t)
	w.Images(t)
	path, err := program()
	if err != nil {
		t.Fatalf("build the guests' program: %v", err)
	}
	s := &standin{world: w, settings: map[string]string{
		images.EnvLinuxBinary: path,
		images.EnvDNS:         world.DNSAddress,
		images.EnvAgentImage:  world.AgentImage,
		"SSL_CERT_FILE":       w.OriginCA,
	}}
	maps.Copy(s.settings, settings)
	dir := t.TempDir()
	s.Backend = New(Config{
		BottlesDir: filepath.Join(dir, "bottles"), Owner: "test-" + filepath.Base(dir) + dir,
		LookupEnv: func(name string) (string, bool) {
			v, ok := s.settings[name]
			return v, ok
		},
	})
	return s
}

// TestConformance runs the suite every backend passes, on real containers.
func TestConformance(t *testing.T) {
	ask, err := askProgram()
	if err != nil {
		t.Fatal(err)
	}
	for _, topo := range []topology{twoNetwork, socket} {
		t.Run(string(topo), func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backendtest.Bed {
				s := newStandin(t, map[string]string{EnvTopology: string(topo)})
				return backendtest.Bed{
					Backend: s, Owner: s.cfg.Owner, SecretPaths: []string{s.cfg.BottlesDir},
					Canary: canary(topo), OwnRoot: true, LaunchTime: 10 * time.Second, Ask: ask,
				}
			})
		})
	}
}

func canary(topo topology) string {
	if topo == socket {
		return ""
	}
	return world.CanaryAddresses()[0].String()
}

// runProgram runs a program as a person would.
func runProgram(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	return string(out), err
}
