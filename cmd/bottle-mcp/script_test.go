package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the scripts' helper programs from the test binary.
func TestMain(m *testing.M) {
	// Scripts write manifests, which nobody else may be able to change.
	syscall.Umask(0o022)
	testscript.Main(m, map[string]func(){
		"mcp-client":  mcpClient,
		"signal-run":  signalRun,
		"ledger-book": ledgerBook,
	})
}

// TestScripts runs the real program, built as a release is, one behaviour a
// script. Each has a home, a state directory and a working directory of its
// own, and must leave no bottle.
func TestScripts(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(bin, "bottle-mcp"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	// Short: the scripts' directories hold Unix sockets, whose paths are bounded.
	work, err := os.MkdirTemp("", "bm") //nolint:usetesting // t.TempDir's path is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		WorkdirRoot:         work,
		RequireExplicitExec: true,
		Setup:               func(env *testscript.Env) error { return setUp(env, bin) },
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":       exits,
			"gone":        gone,
			"wellwritten": wellWritten,
		},
	})
}

// setUp gives a script its directories and takes its bottles away afterwards.
func setUp(env *testscript.Env, bin string) error {
	home, state := filepath.Join(env.WorkDir, "home"), filepath.Join(env.WorkDir, "s")
	for _, dir := range []string{home, state} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	env.Setenv("HOME", home)
	env.Setenv("XDG_STATE_HOME", state)
	env.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	env.Setenv("STATE", filepath.Join(state, "bottle-mcp"))
	env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("BIN", bin)
	env.Setenv("NEWLINE", "a\nb")
	env.Setenv("GUEST", "/.bottle/bottle-mcp")
	env.Defer(func() {
		sweep := exec.Command(filepath.Join(bin, "bottle-mcp"), "cleanup", "--all", "--yes", "--json")
		sweep.Env = env.Vars
		var out, problem bytes.Buffer
		sweep.Stdout, sweep.Stderr = &out, &problem
		if err := sweep.Run(); err != nil {
			env.T().Fatal("bottles are left: ", err, out.String(), problem.String())
		}
		if strings.TrimSpace(out.String()) != "[]" {
			env.T().Fatal("the script left bottles: ", out.String())
		}
	})
	return nil
}

// condition adds [bottles]: this host can run them. On a build machine that
// is demanded, not asked.
func condition(name string) (bool, error) {
	if name == "bottles" {
		return runtime.GOOS == "linux", nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// exits runs a command and checks its exact exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\nstderr: %s", got, want, ts.ReadFile("stderr"))
	}
}

// gone checks that no bottle has anything in the state directory.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: gone")
	}
	entries, err := os.ReadDir(filepath.Join(ts.Getenv("STATE"), "bottles"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		ts.Fatalf("%v", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			ts.Fatalf("%s is left in the state directory", entry.Name())
		}
	}
}

// wellWritten checks that the last command's standard error is one line of
// what failed and at least one hint.
func wellWritten(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stderr")
	headlines, hints := 0, 0
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "bottle-mcp: "):
			headlines++
		case strings.HasPrefix(line, "  hint: "):
			hints++
		case !strings.HasPrefix(line, "  "):
			ts.Fatalf("a line of another kind: %q", line)
		}
	}
	if neg || headlines != 1 || hints == 0 && (len(args) == 0 || args[0] != "nohint") {
		ts.Fatalf("%d headlines and %d hints in\n%s", headlines, hints, text)
	}
}
