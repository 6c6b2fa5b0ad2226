package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// withBottles is a command line with two bottles.
func withBottles(t *testing.T, faults ...string) (*fakeCLI, *fakeBottles) {
	t.Helper()
	f := newFake(faults...)
	now := time.Now()
	f.bottles["younger"] = provision.Bottle{ID: "younger", State: backend.Dead, Created: now.Add(-time.Minute)}
	f.bottles["older"] = provision.Bottle{
		ID: "older", State: backend.Running, Created: now.Add(-time.Hour), Expires: now.Add(90 * time.Minute),
		Bottles: []string{"default", "go"}, Label: "a \x1b[31mlabel that is too long for a table", Refusals: 3,
		Usage: backend.Usage{MemoryBytes: 3 << 20},
	}
	return newFakeCLI(t, f), f
}

func TestListTable(t *testing.T) {
	c, _ := withBottles(t)
	if err := c.list(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	text := c.out.String()
	if strings.Index(text, "older") > strings.Index(text, "younger") {
		t.Errorf("not oldest first:\n%s", text)
	}
	for _, want := range []string{"ID", "running", "default+go", "3.0 MiB", "dead", "1h30m"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("a label reached the terminal raw")
	}
	if strings.Contains(text, "PARENT") {
		t.Errorf("a column for nobody:\n%s", text)
	}
}

func TestListParents(t *testing.T) {
	c, f := withBottles(t)
	child := f.bottles["younger"]
	child.Parent = "older"
	f.bottles["younger"] = child
	if err := c.list(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(c.out.String()), "\n")
	for i, want := range []string{"PARENT", "-", "older"} {
		if cells := strings.Fields(rows[i]); cells[1] != want {
			t.Errorf("row %d is %q", i, rows[i])
		}
	}
	c.out.Reset()
	if err := c.list(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	var listed []listedBottle
	if err := json.Unmarshal(c.out.Bytes(), &listed); err != nil || listed[0].Parent != "" || listed[1].Parent != "older" {
		t.Errorf("%v, %v", err, listed)
	}
}

func TestListJSON(t *testing.T) {
	c, _ := withBottles(t)
	if err := c.list(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	var listed []listedBottle
	if err := json.Unmarshal(c.out.Bytes(), &listed); err != nil || len(listed) != 2 || listed[0].ID != "older" {
		t.Errorf("%v, %v", err, listed)
	}
}

func TestCleanupRequest(t *testing.T) {
	tests := []struct {
		name string
		o    cleanupOptions
		args []string
		code int
	}{
		{"nothing chosen", cleanupOptions{}, nil, exitUsage},
		{"two choices", cleanupOptions{all: true, orphans: true}, nil, exitUsage},
		{"ids and all", cleanupOptions{all: true}, []string{"a"}, exitUsage},
		{"path as id", cleanupOptions{}, []string{"../x"}, exitUsage},
		{"newline in id", cleanupOptions{}, []string{"a\nb"}, exitUsage},
		{"ids", cleanupOptions{}, []string{"a", "b"}, exitOK},
		{"orphans", cleanupOptions{orphans: true}, nil, exitOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.o.request(tt.args); exitCode(err) != tt.code {
				t.Errorf("%v, want code %d", err, tt.code)
			}
		})
	}
}

func TestCleanup(t *testing.T) {
	tests := []struct {
		name   string
		o      cleanupOptions
		args   []string
		answer string // typed on a terminal; "" = there is none
		fault  string
		code   int
		left   int
	}{
		{name: "one", args: []string{"older"}, left: 1},
		{name: "dry run", o: cleanupOptions{all: true, dryRun: true}, left: 2},
		{name: "all, nobody to ask", o: cleanupOptions{all: true}, code: exitUsage, left: 2},
		{name: "all, yes flag", o: cleanupOptions{all: true, yes: true}},
		{name: "all, answered yes", o: cleanupOptions{all: true}, answer: "y\n"},
		{name: "all, answered no", o: cleanupOptions{all: true}, answer: "\n", code: exitFailed, left: 2},
		{name: "fails", args: []string{"older"}, fault: "cleanup", code: exitFailed, left: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, f := withBottles(t, tt.fault)
			if tt.answer != "" {
				c.con.inTerminal, c.con.in = true, strings.NewReader(tt.answer)
			}
			err := c.cleanup(context.Background(), tt.o, tt.args)
			if exitCode(err) != tt.code || len(f.bottles) != tt.left {
				t.Errorf("%v, %d bottles left, want code %d and %d", err, len(f.bottles), tt.code, tt.left)
			}
		})
	}
}

// stubBackend answers Check alone.
type stubBackend struct {
	backend.Backend
	caps backend.Capabilities
	err  error
}

func (stubBackend) Name() string { return "stub" }

func (s stubBackend) Check(context.Context) (backend.Capabilities, error) { return s.caps, s.err }

func TestExamine(t *testing.T) {
	good := examine(context.Background(), stubBackend{caps: backend.Capabilities{Detail: "works", Walls: []string{"w"}}})
	if !good.Available || good.Detail != "works" || len(good.Walls) != 1 {
		t.Errorf("%+v", good)
	}
	bad := examine(context.Background(), stubBackend{err: &backend.UnavailableError{Backend: "stub", Reason: "r", Fix: "f"}})
	if bad.Available || bad.Reason != "r" || bad.Fix != "f" {
		t.Errorf("%+v", bad)
	}
	odd := examine(context.Background(), stubBackend{err: errors.New("odd")})
	if odd.Available || odd.Reason != "odd" {
		t.Errorf("%+v", odd)
	}
}

func TestStateOf(t *testing.T) {
	dir := t.TempDir()
	good := stateOf(paths{stateDir: filepath.Join(dir, "state"), manifests: dir})
	if !good.OK || good.FreeBytes <= 0 {
		t.Errorf("%+v", good)
	}
	info, err := os.Stat(filepath.Join(dir, "state"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("state directory: %v, %v", info, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if bad := stateOf(paths{stateDir: filepath.Join(file, "state"), manifests: dir}); bad.OK || bad.Problem == "" {
		t.Errorf("%+v", bad)
	}
}

func TestManifestsOf(t *testing.T) {
	dir := t.TempDir()
	if got := manifestsOf(paths{manifests: dir}); len(got.Bottles) != 1 || len(got.Problems) != 0 {
		t.Errorf("without manifests: %+v", got)
	}
	if err := os.MkdirAll(filepath.Join(dir, "bottles"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bottles", "bad.md"), []byte("---\negres: 1\n---\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := manifestsOf(paths{manifests: dir}); len(got.Problems) != 1 || !strings.Contains(got.Problems[0], "egres") {
		t.Errorf("with a bad one: %+v", got)
	}
}

func TestPrintDoctor(t *testing.T) {
	c := newFakeCLI(t, newFake())
	c.printDoctor(doctorReport{Backends: []backendHealth{
		{Name: "good", Available: true, Walls: []string{strings.Repeat("wall ", 60)}, Missing: []backend.Missing{{Name: "m", Reason: "why"}}},
		{Name: "bad", Reason: "because", Fix: "do this"},
	}, State: stateHealth{Path: "/x", Problem: "full"}})
	for _, want := range []string{"✓ backend good", "✗ backend bad", "because", "do this", "m: why", "full"} {
		if !strings.Contains(c.out.String(), want) {
			t.Errorf("no %q in\n%s", want, c.out.String())
		}
	}
	for line := range strings.Lines(c.out.String()) {
		if len([]rune(line)) > defaultWidth+1 {
			t.Errorf("too wide: %s", line)
		}
	}
}

func TestPaths(t *testing.T) {
	t.Setenv("HOME", "/home/x")
	tests := []struct{ name, flag, xdg, want string }{
		{"home", "", "", "/home/x/.local/state/bottle-mcp"},
		{"xdg", "", "/s", "/s/bottle-mcp"},
		{"relative xdg is ignored", "", "s", "/home/x/.local/state/bottle-mcp"},
		{"flag", "/f", "/s", "/f"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("XDG_STATE_HOME", tt.xdg)
			got, err := (&cli{stateDir: tt.flag}).paths()
			if err != nil || got.stateDir != tt.want || got.manifests != "/home/x/.bot-bottle" {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestLoggerLevels(t *testing.T) {
	for level, ok := range map[string]bool{"": true, "debug": true, "warn": true, "loud": false, "info+1": false} {
		c := newFakeCLI(t, newFake())
		c.logLevel = level
		log, err := c.logger(slog.LevelWarn)
		if (err == nil) != ok {
			t.Errorf("%q: %v", level, err)
			continue
		}
		if ok {
			log.Warn("said", "error", fs.ErrNotExist)
			if !json.Valid(c.err.Bytes()) {
				t.Errorf("not a JSON line: %s", c.err.String())
			}
		}
	}
}

func TestFetch(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/ok":
			_, _ = w.Write([]byte("body"))
		default:
			http.Error(w, `{"reason":"no"}`, http.StatusForbidden)
		}
	}))
	defer server.Close()
	for path, want := range map[string]struct {
		code int
		body string
	}{
		"/ok":    {exitOK, "body"},
		"/moved": {exitFailed, ""},
		"/no":    {exitFailed, `{"reason":"no"}`},
	} {
		c := newFakeCLI(t, newFake())
		err := c.fetch(context.Background(), server.URL+path, true)
		if exitCode(err) != want.code || !strings.Contains(c.out.String(), want.body) {
			t.Errorf("%s: %v, body %q", path, err, c.out.String())
		}
	}
}
