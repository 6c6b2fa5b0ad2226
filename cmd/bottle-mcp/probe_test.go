package main

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// newFakeProbe is a probe of a fake, outside any command line.
func newFakeProbe(t *testing.T, f *fakeBottles, o probeOptions) *probe {
	t.Helper()
	return &probe{
		bottles:   f,
		leftovers: leftoverFinder{stateDir: t.TempDir()},
		o:         o,
		work:      t.TempDir(),
		bar:       &progress{con: &console{}},
	}
}

// redChecks returns the red checks of a report as "section/check".
func redChecks(r *probeReport) []string {
	var red []string
	for _, s := range r.Sections {
		for _, c := range s.Checks {
			if !c.OK {
				red = append(red, s.Name+"/"+c.Name)
			}
		}
	}
	return red
}

// unseen is the one check that a fake cannot pass on Linux: it has no process
// that the finder could have seen.
const unseen = "cleanup/no process"

func TestProbeGreen(t *testing.T) {
	f := newFake()
	p := newFakeProbe(t, f, probeOptions{})
	report := p.runUntil(context.Background(), time.Minute, func(*probeSection) {})
	for _, red := range redChecks(report) {
		if red != unseen {
			t.Errorf("%s is red", red)
		}
	}
	var names []string
	for _, s := range report.Sections {
		names = append(names, s.Name)
	}
	if got, want := strings.Join(names, " "), "launch isolation exec egress files list cleanup"; got != want {
		t.Errorf("sections %q, want %q", got, want)
	}
	if len(f.removed) != 1 {
		t.Errorf("removed %v, want the one bottle", f.removed)
	}
}

// TestProbeRed breaks one thing at a time: each must turn exactly its check red.
func TestProbeRed(t *testing.T) {
	tests := map[string]string{
		"plan":         "launch/plan",
		"launch":       "launch/start-agent",
		"leak":         "isolation/udp-dns",
		"isolation":    "isolation/tcp4-direct",
		"no-report":    "isolation/self-test",
		"argv":         "exec/arguments arrive unchanged",
		"stdin":        "exec/standard input",
		"code":         "exec/exit code",
		"streams":      "exec/exit code",
		"signal":       "exec/signal",
		"user":         "exec/user",
		"cancel":       "exec/cancel kills the whole tree",
		"survivors":    "exec/cancel kills the whole tree",
		"health":       "egress/proxy answers",
		"open":         "egress/unlisted host over https",
		"reason":       "egress/unlisted host over https",
		"body":         "egress/unlisted host over http",
		"workspace":    "files/workspace runs",
		"skip":         "files/copy in",
		"digest":       "files/sha256 inside",
		"copy":         "files/copy out and compare",
		"extra":        "files/copy out and compare",
		"inline":       "files/one file inline",
		"list":         "list/listed as running",
		"service":      "list/listed as running",
		"cleanup":      "cleanup/removed",
		"still-listed": "cleanup/not listed",
	}
	for fault, want := range tests {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			p := newFakeProbe(t, newFake(fault), probeOptions{})
			report := p.runUntil(context.Background(), time.Minute, func(*probeSection) {})
			if report.OK {
				t.Error("the report is green")
			}
			if red := redChecks(report); !strings.Contains(strings.Join(red, "\n"), want) {
				t.Errorf("red are %q, want %q among them", red, want)
			}
		})
	}
}

func TestProbeUnseenProcessesProveNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("bottles are processes of this host on Linux only")
	}
	report := newFakeProbe(t, newFake(), probeOptions{}).runUntil(context.Background(), time.Minute, func(*probeSection) {})
	if red := redChecks(report); strings.Join(red, " ") != unseen {
		t.Errorf("red are %q, want %q alone", red, unseen)
	}
}

func TestProbeKeep(t *testing.T) {
	f := newFake()
	report := newFakeProbe(t, f, probeOptions{keep: true}).runUntil(context.Background(), time.Minute, func(*probeSection) {})
	if len(f.removed) != 0 || !report.Bottle.Kept || !report.OK {
		t.Errorf("removed %v, kept %v, ok %v", f.removed, report.Bottle.Kept, report.OK)
	}
}

func TestProbeCutsOffWhatHangs(t *testing.T) {
	start := time.Now()
	report := newFakeProbe(t, newFake("hang"), probeOptions{}).runUntil(context.Background(), 100*time.Millisecond, func(*probeSection) {})
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if red := redChecks(report); strings.Join(red, " ") != "deadline/finished in time" {
		t.Errorf("red are %q", red)
	}
}

func TestProbeRemovesAfterInterrupt(t *testing.T) {
	f := newFake()
	ctx, cancel := context.WithCancel(context.Background())
	p := newFakeProbe(t, f, probeOptions{})
	p.runUntil(ctx, time.Minute, func(s *probeSection) {
		if s.Name == "isolation" {
			cancel()
		}
	})
	if len(f.removed) != 1 {
		t.Errorf("removed %v, want the one bottle", f.removed)
	}
}

func TestProbeSaysHowToFix(t *testing.T) {
	f := newFake()
	f.err = &backend.UnavailableError{Backend: "linux", Reason: "no namespaces", Fix: "switch them on"}
	report := newFakeProbe(t, f, probeOptions{}).runUntil(context.Background(), time.Minute, func(*probeSection) {})
	if report.OK || len(report.Hints) == 0 || report.Hints[0] != "switch them on" {
		t.Errorf("ok %v, hints %q", report.OK, report.Hints)
	}
}

func TestProbeTextFits(t *testing.T) {
	long := strings.Repeat("long words of a detail ", 20) + "\x1b[31m\n"
	c := newFakeCLI(t, newFake())
	c.printSection(&probeSection{Name: "isolation", Checks: []probeCheck{
		{Name: "tcp4-direct", As: "agent", OK: true, Detail: "x"},
		{Name: "tcp4-direct", As: "root", OK: true, Detail: "x"},
		{Name: strings.Repeat("n", 90), As: "root", Detail: long},
		{Name: "fine", OK: true, Detail: long},
	}})
	c.printProbeEnd(&probeReport{Backend: probeBackend{
		Name: "fake", Walls: []string{long, long}, Missing: []backend.Missing{{Name: "x", Reason: long}},
	}, Hints: []string{"short"}})
	text := c.out.String()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > defaultWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("a control character reached a terminal without colour")
	}
	if !strings.Contains(text, "agent+root") {
		t.Errorf("equal checks of two users do not share a line:\n%s", text)
	}
	if strings.Count(text, "long words") < 20*3 {
		t.Error("the detail of a red check was cut")
	}
}

func TestProbeJSONShape(t *testing.T) {
	c := newFakeCLI(t, newFake())
	err := c.probe(context.Background(), probeOptions{asJSON: true, keep: true})
	if err != nil {
		t.Fatalf("probe: %v\n%s", err, c.out.String())
	}
	var report map[string]any
	if err := json.Unmarshal(c.out.Bytes(), &report); err != nil {
		t.Fatalf("not JSON: %v", err)
	}
	for _, key := range []string{"schema", "ok", "version", "host", "backend", "bottle", "sections", "passed", "failed", "elapsed_ms", "hints"} {
		if _, ok := report[key]; !ok {
			t.Errorf("no key %q", key)
		}
	}
	if report["ok"] != true || report["failed"] != 0.0 {
		t.Errorf("ok %v, failed %v", report["ok"], report["failed"])
	}
}

func TestProbeExitCode(t *testing.T) {
	c := newFakeCLI(t, newFake("signal"))
	err := c.probe(context.Background(), probeOptions{keep: true})
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != exitFailed {
		t.Errorf("probe ended with %v", err)
	}
	if !strings.Contains(c.out.String(), "1 failed") {
		t.Errorf("the verdict does not count it:\n%s", c.out.String())
	}
}

func TestSameTree(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	for _, dir := range []string{a, b} {
		if err := writeProbeWorkspace(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := sameTree(a, a); err != nil {
		t.Errorf("a tree differs from itself: %v", err)
	}
	if err := sameTree(a, b); err == nil || !strings.Contains(err.Error(), "random.bin") {
		t.Errorf("other random bytes are not seen: %v", err)
	}
	if err := sameTree(a, t.TempDir()); err == nil {
		t.Error("an empty copy is not seen")
	}
}
