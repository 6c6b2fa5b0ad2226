package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/evals/drive"
)

func TestMain(m *testing.M) { os.Exit(world.TestMain(m.Run, world.Options{})) }

// binary is the product, built as a release is.
var binary = sync.OnceValues(func() (string, error) { return build("cmd/bottle-mcp") })

// build builds a command of this module.
func build(command string) (string, error) {
	dir, err := os.MkdirTemp("", "bottle-mcp-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, filepath.Base(command))
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "github.com/bottle-mcp/bottle-mcp/"+command)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", command, err, out)
	}
	return path, nil
}

const (
	secretToken = "s3cr3t-0f-the-0perat0r"
	callTime    = 2 * time.Minute
)

// mac is a Mac of one user with bottle-mcp on it.
type mac struct {
	t        *testing.T
	world    *world.World
	binary   string
	home     string
	settings map[string]string
}

func newMac(t *testing.T, settings map[string]string) *mac {
	t.Helper()
	w := world.New(t)
	w.Images(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	m := &mac{t: t, world: w, binary: path, home: home, settings: map[string]string{
		"HOME":                           home,
		"XDG_STATE_HOME":                 filepath.Join(home, "state"),
		"BOT_BOTTLE_BACKEND":             "macos-container",
		"BOT_BOTTLE_MACOS_CONTAINER_DNS": world.DNSAddress,
		"BOTTLE_MCP_AGENT_IMAGE":         world.AgentImage,
		"BOTTLE_MCP_CANARY":              world.CanaryAddresses()[0].String(),
		"SSL_CERT_FILE":                  w.OriginCA,
		"OPERATOR_TOKEN":                 secretToken,
	}}
	maps.Copy(m.settings, settings)
	return m
}

func (m *mac) env() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m.settings)) {
		out = append(out, name+"="+m.settings[name])
	}
	return out
}

// manifest writes one of the operator's bottles.
func (m *mac) manifest(name, front string) {
	m.t.Helper()
	dir := filepath.Join(m.home, ".bot-bottle", "bottles")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".md"), []byte("---\n"+front+"\n---\n"), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// run runs the program to its end.
func (m *mac) run(args ...string) (string, error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.binary, args...)
	cmd.Env = append(os.Environ(), m.env()...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// serve starts the server as an agent host does.
func (m *mac) serve(args ...string) *host {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), callTime)
	defer cancel()
	h, err := drive.Start(ctx, m.binary, m.env(), append([]string{"--root", m.home}, args...)...)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = h.Close() })
	return &host{t: m.t, h: h}
}

// host is an agent host with a session.
type host struct {
	t *testing.T
	h *drive.Host
}

func (h *host) call(tool string, args map[string]any, out any) error {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), callTime)
	defer cancel()
	return h.h.Call(ctx, tool, args, out)
}

// must calls a tool that has to succeed.
func (h *host) must(tool string, args map[string]any, out any) {
	h.t.Helper()
	if err := h.call(tool, args, out); err != nil {
		h.t.Fatal(err)
	}
}

// exec runs a command that has to start.
func (h *host) exec(id string, argv ...string) drive.Exec {
	h.t.Helper()
	var r drive.Exec
	h.must("exec", map[string]any{"id": id, "command": argv}, &r)
	return r
}

// refusedWith demands a tool's own refusal that says all of words.
func refusedWith(t *testing.T, err error, words ...string) {
	t.Helper()
	var refused *drive.ToolError
	if !errors.As(err, &refused) {
		t.Fatalf("error is %v, want the tool's refusal", err)
	}
	for _, word := range words {
		if !strings.Contains(refused.Text, word) {
			t.Errorf("the refusal lacks %q: %s", word, refused.Text)
		}
	}
}

// lateTime is how long a call may take to end that a server makes by itself, to
// look for what others left.
const lateTime = 5 * time.Second

// untouched demands that nothing of the engine is left beyond before, and no
// bottle's directory.
func (m *mac) untouched(before world.Engine) {
	m.t.Helper()
	var left []string
	for deadline := time.Now().Add(lateTime); ; time.Sleep(100 * time.Millisecond) {
		left = m.world.Engine(m.t).Since(before)
		// Only a call that runs may go by itself.
		if !slices.Contains(left, "process container") || time.Now().After(deadline) {
			break
		}
	}
	if len(left) > 0 {
		m.t.Errorf("left behind in the engine: %q", left)
	}
	for _, pattern := range []string{"bottles/*", "sock/*", "mcp/*"} {
		if names, _ := filepath.Glob(filepath.Join(m.home, "state/bottle-mcp", pattern)); len(names) > 0 {
			m.t.Errorf("left behind: %q", names)
		}
	}
}
