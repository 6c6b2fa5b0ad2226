package subbottles

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Programs that were built before, for whoever has no Go: the product and the
// supervisor.
const (
	envBinary     = "BOTTLE_MCP_BINARY"
	envSupervisor = "BOTTLE_MCP_SUPERVISOR"
)

// TestSubBottles is the whole on the embedded engine, as root and as an ordinary
// user.
func TestSubBottles(t *testing.T) {
	home := shortDir(t)
	state := filepath.Join(home, "state")
	Run(t, Bed{
		Binary:     build(t, envBinary, "cmd/bottle-mcp"),
		Supervisor: build(t, envSupervisor, "evals/subbottles/supervisor"),
		Home:       home, StateDir: filepath.Join(state, "bottle-mcp"),
		Env:      []string{"HOME=" + home, "XDG_STATE_HOME=" + state, "BOT_BOTTLE_BACKEND=linux"},
		CallTime: 2 * time.Minute,
	})
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

// build builds a command of this module, unless the environment names one.
func build(t *testing.T, env, command string) string {
	t.Helper()
	if path := os.Getenv(env); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), filepath.Base(command))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, "github.com/bottle-mcp/bottle-mcp/"+command)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", command, err, out)
	}
	return path
}
