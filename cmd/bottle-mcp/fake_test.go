package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

// fakeBottles is a bottle service that does what verbs expect, in memory, and
// that tests break one thing of.
type fakeBottles struct {
	faults    map[string]bool // what is broken, see the uses of broken
	err       error           // returned by Plan
	provider  *provision.ProviderPlan
	questions []provision.Question
	exec      func(ctx context.Context, cmd backend.Command, streams backend.Streams) (provision.ExecResult, error)

	mu      sync.Mutex
	bottles map[backend.ID]provision.Bottle
	tree    string // host directory that stands for the guest's copy
	inline  []byte
	removed []backend.ID
	request provision.LaunchRequest
}

var _ tools.Bottles = (*fakeBottles)(nil)

func newFake(faults ...string) *fakeBottles {
	f := &fakeBottles{faults: map[string]bool{}, bottles: map[backend.ID]provision.Bottle{}}
	for _, fault := range faults {
		f.faults[fault] = true
	}
	return f
}

func (f *fakeBottles) broken(fault string) bool { return f.faults[fault] }

func (f *fakeBottles) fail(fault string) error {
	if f.broken(fault) {
		return errors.New(fault + " is broken")
	}
	return nil
}

func (f *fakeBottles) Plan(_ context.Context, req provision.LaunchRequest) (*provision.Plan, error) {
	f.request = req
	if f.err != nil {
		return nil, f.err
	}
	plan := &provision.Plan{ID: "fake-1", Policy: "no way out", Bottles: []string{"default"}, Provider: f.provider}
	for _, q := range f.questions {
		if _, answered := req.Answers[q.Name]; !answered {
			plan.Questions = append(plan.Questions, q)
		}
	}
	return plan, f.fail("plan")
}

func (f *fakeBottles) Launch(ctx context.Context, plan *provision.Plan, report func(provision.Event)) (*provision.Bottle, error) {
	if f.broken("hang") {
		select {} // ignores its context: what the probe's own deadline is for
	}
	report(provision.Event{Step: "start-sidecar", Index: 1, Total: 2})
	report(provision.Event{Step: "start-sidecar", Index: 1, Total: 2, Done: true, Elapsed: time.Millisecond})
	report(provision.Event{Step: "start-agent", Index: 2, Total: 2})
	if f.broken("leak") {
		report := provision.Report{Red: 1, Checks: []provision.Check{{Name: "udp-dns", As: "root", Detail: "it answered"}}}
		return nil, &provision.StepError{Step: "start-agent", Err: &provision.IsolationError{Report: report}}
	}
	if err := f.fail("launch"); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	b := provision.Bottle{
		ID: plan.ID, Backend: "fake", Isolation: "none", State: backend.Running,
		Bottles: plan.Bottles, Provider: plan.Provider, Policy: plan.Policy, Created: time.Now(), Expires: time.Now().Add(time.Hour),
		Services:  map[sidecars.Service]bool{sidecars.Egress: !f.broken("service")},
		Endpoints: backend.Endpoints{Egress: "http://127.0.0.1:9099"},
		Report:    provision.Report{Elapsed: time.Millisecond, Walls: []string{"one"}, Missing: []backend.Missing{{Name: "two", Reason: "not here"}}},
	}
	for _, as := range []string{"agent", "root"} {
		b.Report.Checks = append(b.Report.Checks,
			provision.Check{Name: "tcp4-direct", As: as, OK: !f.broken("isolation") || as == "agent", Detail: "unreachable"},
			provision.Check{Name: "routes", As: as, OK: true, Detail: "none"})
	}
	if f.broken("no-report") {
		b.Report.Checks = nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bottles[b.ID] = b
	return &b, nil
}

func (f *fakeBottles) Exec(ctx context.Context, _ provision.Principal, _ backend.ID, cmd backend.Command, streams backend.Streams) (provision.ExecResult, error) {
	if f.exec != nil {
		return f.exec(ctx, cmd, streams)
	}
	return f.probeExec(ctx, strings.Join(cmd.Argv, " "), streams)
}

// probeExec answers the commands of probe.
func (f *fakeBottles) probeExec(ctx context.Context, line string, streams backend.Streams) (provision.ExecResult, error) {
	var r provision.ExecResult
	out := func(fault, text string) {
		if f.broken(fault) {
			text = "something else"
		}
		_, _ = io.WriteString(streams.Stdout, text)
	}
	switch {
	case strings.HasPrefix(line, "printf %s "):
		out("argv", strings.TrimPrefix(line, "printf %s "))
	case line == "cat":
		text, _ := io.ReadAll(streams.Stdin)
		out("stdin", string(text))
	case strings.Contains(line, "exit 42"):
		out("streams", "out\n")
		_, _ = io.WriteString(streams.Stderr, "err\n")
		r.Status.Code = 42
		if f.broken("code") {
			r.Status.Code = 0
		}
	case strings.Contains(line, "kill -TERM"):
		r.Status = backend.ExitStatus{Code: 143, Signal: 15}
		if f.broken("signal") {
			r.Status = backend.ExitStatus{}
		}
	case line == "id -u":
		out("user", "1000\n")
	case strings.Contains(line, "echo up"):
		_, _ = io.WriteString(streams.Stdout, "up\n")
		if f.broken("cancel") {
			time.Sleep(cancelBound + 200*time.Millisecond)
		}
		<-ctx.Done()
		return r, ctx.Err()
	case strings.Contains(line, "grep -c"):
		out("survivors", "0\n")
		r.Status.Code = 1 // what grep says when it counts none
	case strings.Contains(line, "fetch"):
		f.fetch(line, streams, &r)
	case strings.HasSuffix(line, "/sub/link"):
		out("workspace", "ran\n")
	case strings.Contains(line, "sha256sum"):
		sum, err := fileDigest(filepath.Join(f.tree, "random.bin"))
		if err != nil {
			return r, err
		}
		out("digest", sum+"\n")
	default:
		return r, fmt.Errorf("the fake does not know %q", line)
	}
	return r, f.fail("exec")
}

// fetch answers as the proxy would.
func (f *fakeBottles) fetch(line string, streams backend.Streams, r *provision.ExecResult) {
	if strings.Contains(line, healthURL) {
		_, _ = io.WriteString(streams.Stdout, "ok fake-1\n")
		if f.broken("health") {
			_, _ = io.WriteString(streams.Stdout, "of another bottle\n")
		}
		return
	}
	if f.broken("open") {
		return
	}
	r.Status.Code = 1
	body := `{"reason":"host_not_allowed"}`
	if f.broken("body") {
		body = "no"
	}
	_, _ = io.WriteString(streams.Stdout, body)
	if !f.broken("reason") {
		r.Refusals = []sidecars.Decision{{Host: unlistedHost, Port: 443, Method: "CONNECT", Reason: "host_not_allowed"}}
	}
}

func (f *fakeBottles) CopyIn(_ context.Context, _ provision.Principal, _ backend.ID, host, _ string, _ provision.CopyOptions) (provision.CopyResult, error) {
	f.tree = host
	r := provision.CopyResult{CopyReport: backend.CopyReport{Files: 4, Bytes: probeFileSize}}
	if f.broken("skip") {
		r.Skipped = []backend.Skip{{Path: "sub/link", Reason: "no links"}}
	}
	return r, nil
}

func (f *fakeBottles) CopyOut(_ context.Context, _ provision.Principal, _ backend.ID, _, host string, _ provision.CopyOptions) (provision.CopyResult, error) {
	if err := os.CopyFS(host, os.DirFS(f.tree)); err != nil {
		return provision.CopyResult{}, err
	}
	// CopyFS adds permissions for the owner's sake; a copy from a bottle does not.
	err := filepath.Walk(f.tree, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.Mode()&os.ModeSymlink != 0 {
			return err
		}
		name, err := filepath.Rel(f.tree, path)
		if err != nil {
			return err
		}
		return os.Chmod(filepath.Join(host, name), info.Mode().Perm())
	})
	if f.broken("copy") {
		err = errors.Join(err, os.Chmod(filepath.Join(host, "sub", "run.sh"), 0o600))
	}
	if f.broken("extra") {
		err = errors.Join(err, os.WriteFile(filepath.Join(host, "extra"), nil, 0o600))
	}
	return provision.CopyResult{CopyReport: backend.CopyReport{Files: 4}}, err
}

func (f *fakeBottles) WriteFile(_ context.Context, _ provision.Principal, _ backend.ID, _ string, content []byte, _ provision.CopyOptions) (provision.CopyResult, error) {
	f.inline = bytes.Clone(content)
	return provision.CopyResult{}, nil
}

func (f *fakeBottles) ReadFile(context.Context, provision.Principal, backend.ID, string, int64) ([]byte, int64, error) {
	if f.broken("inline") {
		return nil, 0, nil
	}
	return f.inline, int64(len(f.inline)), nil
}

func (f *fakeBottles) List(context.Context, provision.Principal) ([]provision.Bottle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken("list") {
		return nil, nil
	}
	return slices.Collect(maps.Values(f.bottles)), nil
}

func (f *fakeBottles) Get(_ context.Context, _ provision.Principal, id backend.ID) (*provision.Bottle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.bottles[id]
	if !ok {
		return nil, backend.ErrNotFound
	}
	return &b, nil
}

func (f *fakeBottles) Cleanup(_ context.Context, req provision.CleanupRequest, _ func(provision.Event)) ([]provision.CleanupItem, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := req.IDs
	if req.All {
		ids = slices.Sorted(maps.Keys(f.bottles))
	}
	var items []provision.CleanupItem
	for _, id := range ids {
		item := provision.CleanupItem{ID: id, Action: "remove", Done: !req.DryRun}
		if f.broken("cleanup") {
			item.Done, item.Reason = false, "it would not go"
		}
		if item.Done && !f.broken("still-listed") {
			delete(f.bottles, id)
		}
		if item.Done {
			f.removed = append(f.removed, id)
		}
		items = append(items, item)
	}
	return items, nil
}

func (f *fakeBottles) EgressLog(context.Context, provision.Principal, backend.ID, int) ([]sidecars.Decision, error) {
	return nil, nil
}

func (f *fakeBottles) OutputFile(context.Context, provision.Principal, backend.ID) (string, io.WriteCloser, error) {
	return "", nil, backend.ErrNotFound
}

func (f *fakeBottles) OpenOutput(context.Context, provision.Principal, backend.ID, string) (io.ReadSeekCloser, error) {
	return nil, backend.ErrNotFound
}

// fakeCLI is a command line whose bottles are fake, with its captured output.
type fakeCLI struct {
	*cli

	out, err bytes.Buffer
}

func newFakeCLI(t *testing.T, bottles *fakeBottles) *fakeCLI {
	t.Helper()
	f := &fakeCLI{}
	f.cli = &cli{
		con:      &console{in: strings.NewReader(""), out: &f.out, err: &f.err, width: defaultWidth, openTTY: func() (*os.File, error) { return nil, os.ErrNotExist }},
		stateDir: t.TempDir(),
		connect: func(context.Context, paths, wiring, *slog.Logger) (tools.Bottles, error) {
			return bottles, nil
		},
	}
	return f
}
