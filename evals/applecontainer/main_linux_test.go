package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/grammar" //nolint:depguard // the contract as data, which the stand-in exists to follow
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(probeEnv); path != "" {
		os.Exit(probe(path))
	}
	// The program is the init of guests that have no C library.
	if err := os.Setenv("CGO_ENABLED", "0"); err != nil {
		panic(err)
	}
	os.Exit(world.TestMain(m.Run, world.Options{}))
}

// limit is more than any call of these tests takes.
const limit = time.Minute

// result is what a call of the program left.
type result struct {
	out, complaint string
	code           int
}

// container runs the program.
func container(t *testing.T, argv ...string) result {
	t.Helper()
	return run(t, nil, argv...)
}

func run(t *testing.T, prepare func(*exec.Cmd), argv ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "container", argv...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if prepare != nil {
		prepare(cmd)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("container %q: %v", argv, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("container %q took longer than %s", argv, limit)
	}
	return result{out.String(), complaint.String(), cmd.ProcessState.ExitCode()}
}

// must runs the program, which must succeed, and returns its result.
func must(t *testing.T, argv ...string) string {
	t.Helper()
	r := container(t, argv...)
	if r.code != 0 {
		t.Fatalf("container %q: exit %d: %s%s", argv, r.code, r.out, r.complaint)
	}
	return r.out
}

// refuses runs the program, which must fail with exit 1, print nothing, and
// complain of something.
func refuses(t *testing.T, complaint string, argv ...string) {
	t.Helper()
	r := container(t, argv...)
	if r.code != 1 || r.out != "" || !strings.Contains(r.complaint, complaint) || !strings.HasPrefix(r.complaint, "Error: ") {
		t.Errorf("container %q: exit %d, stdout %q, stderr %q; want 1, nothing, %q", argv, r.code, r.out, r.complaint, complaint)
	}
}

// sh runs a line of shell in a container and returns what it printed.
func sh(t *testing.T, id, line string, options ...string) string {
	t.Helper()
	argv := append(append([]string{"exec"}, options...), "--", id, "sh", "-c", line)
	return strings.TrimSpace(must(t, argv...))
}

// enter is a world with the images, and with a check that the test leaves
// nothing in it.
func enter(t *testing.T) *world.World {
	t.Helper()
	w := world.New(t)
	w.Images(t)
	must(t, "network", "list") // makes what is there always
	before := w.Engine(t)
	t.Cleanup(func() {
		if left := w.Engine(late{t}).Since(before); len(left) > 0 {
			t.Errorf("left behind: %s", strings.Join(left, ", "))
		}
	})
	return w
}

// late is a test whose context is not over when it cleans up.
type late struct{ testing.TB }

func (l late) Context() context.Context { return context.WithoutCancel(l.TB.Context()) }

// network makes a network that goes with the test.
func network(t *testing.T, name string, options ...string) {
	t.Helper()
	must(t, append(append([]string{"network", "create"}, options...), "--", name)...)
	t.Cleanup(func() { clean(t, "network", "delete", name) })
}

// guest starts a container that goes with the test.
func guest(t *testing.T, id string, options ...string) {
	t.Helper()
	argv := append([]string{"run", "-d", "--name", id}, options...)
	must(t, append(argv, "--", world.AgentImage, "sleep", "300")...)
	t.Cleanup(func() { clean(t, "delete", "-f", id) })
}

// clean removes what a test may have removed already.
func clean(t *testing.T, argv ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(late{t}.Context(), limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "container", argv...).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "notFound") {
		t.Errorf("container %q: %v: %s", argv, err, out)
	}
}

// valid returns a document that the contract must know.
func valid(t *testing.T, output, document string) string {
	t.Helper()
	if err := grammar.ValidateOutput(output, []byte(document)); err != nil {
		t.Errorf("%v\n%s", err, document)
	}
	return document
}
