package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// operator is the usual caller.
var operator = provision.Principal{Kind: provision.Operator}

// execFunc stands for a guest's command.
type execFunc func(ctx context.Context, cmd backend.Command, s backend.Streams) (provision.ExecResult, error)

// fakeBottles is provision in memory. A bottle belongs to the principal that
// launched it; the operator sees all of them.
type fakeBottles struct {
	mu      sync.Mutex
	live    map[backend.ID]*fakeBottle
	created int
	onExec  execFunc
	onPlan  func(req provision.LaunchRequest) error
	launch  func(report func(provision.Event)) error
	cleanup func(req provision.CleanupRequest) ([]provision.CleanupItem, error)
	openLog func() error
	copied  *backend.CopyReport // of the next launch's workspace
	reqs    []any               // what was asked for, in order
}

type fakeBottle struct {
	provision.Bottle
	owner provision.Principal
	files map[string][]byte
	logs  map[string]*fakeLog
	log   []sidecars.Decision
}

type fakeLog struct {
	mu     sync.Mutex
	b      bytes.Buffer
	closed bool
	fail   error
	room   int // 0 = endless
}

func (l *fakeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil && l.b.Len()+len(p) > l.room {
		n := l.room - l.b.Len()
		l.b.Write(p[:n])
		return n, l.fail
	}
	return l.b.Write(p)
}

func (l *fakeLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}

func (l *fakeLog) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.b.Bytes())
}

func newFake(ids ...backend.ID) *fakeBottles {
	f := &fakeBottles{live: map[backend.ID]*fakeBottle{}}
	for _, id := range ids {
		f.add(id, operator)
	}
	return f
}

func (f *fakeBottles) add(id backend.ID, owner provision.Principal) *fakeBottle {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.created++
	b := &fakeBottle{
		owner: owner,
		files: map[string][]byte{},
		logs:  map[string]*fakeLog{},
		Bottle: provision.Bottle{
			ID: id, Backend: "linux", Isolation: "namespace", State: backend.Running,
			Bottles:  []string{"default"},
			Services: map[sidecars.Service]bool{sidecars.Egress: true},
			Created:  time.Now().Add(-time.Duration(100-f.created) * time.Second),
			Expires:  time.Now().Add(time.Hour),
			Policy:   "Nothing may be reached.",
			Usage:    backend.Usage{MemoryBytes: 5 << 20, DiskBytes: -1, PIDs: 3, CPUSeconds: -1},
			Report: provision.Report{
				Checks:  []provision.Check{{Name: "tcp4-direct", As: "agent", OK: true, Detail: "unreachable"}},
				Walls:   []string{"seccomp"},
				Missing: []backend.Missing{{Name: "cgroup memory", Reason: "not delegated"}},
			},
		},
	}
	f.live[id] = b
	return b
}

func (f *fakeBottles) get(ctx context.Context, who provision.Principal, id backend.ID) (*fakeBottle, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.live[id]
	if b == nil || (who.Kind != provision.Operator && b.owner != who) {
		return nil, fmt.Errorf("bottle %s: %w", id, backend.ErrNotFound)
	}
	return b, nil
}

func (f *fakeBottles) asked(req any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reqs = append(f.reqs, req)
}

func (f *fakeBottles) lastAsked(t *testing.T) any {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.reqs) == 0 {
		t.Fatal("provision was not asked for anything")
	}
	return f.reqs[len(f.reqs)-1]
}

func (f *fakeBottles) Plan(ctx context.Context, req provision.LaunchRequest) (*provision.Plan, error) {
	f.asked(req)
	if f.onPlan != nil {
		if err := f.onPlan(req); err != nil {
			return nil, err
		}
	}
	plan := &provision.Plan{
		ID: req.ID, Backend: "linux", Isolation: "namespace", Bottles: req.Bottles, Label: req.Label,
		Policy: "Nothing may be reached.", TTL: time.Hour, Steps: []string{"reserve", "start-sidecar"},
		Services: []sidecars.Service{sidecars.Egress}, Digest: "d1",
	}
	if plan.ID == "" {
		plan.ID = "made-up"
	}
	if req.Workspace != "" {
		plan.Workspace = &provision.WorkspacePlan{Host: req.Workspace, Guest: backend.GuestWorkspace}
	}
	return plan, ctx.Err()
}

func (f *fakeBottles) Launch(ctx context.Context, plan *provision.Plan, report func(provision.Event)) (*provision.Bottle, error) {
	for i, step := range plan.Steps {
		report(provision.Event{Step: step, Index: i + 1, Total: len(plan.Steps)})
		report(provision.Event{Step: step, Index: i + 1, Total: len(plan.Steps), Done: true, Elapsed: time.Millisecond})
	}
	if f.launch != nil {
		if err := f.launch(report); err != nil {
			return nil, err
		}
	}
	if b, err := f.get(ctx, operator, plan.ID); err == nil {
		again := b.Bottle
		again.AlreadyRan = true
		return &again, nil
	}
	b := f.add(plan.ID, operator)
	b.WorkspaceCopy = f.copied
	b.Setup = provision.SetupReport{CASHA256: "c0ffee", Files: 20, Left: []backend.Skip{{Path: "/home/agent/.gemrc", Reason: "the image's\n"}}}
	b.StepTimings = []provision.StepTiming{{Step: "reserve", Elapsed: 1500 * time.Microsecond}}
	return &b.Bottle, ctx.Err()
}

func (f *fakeBottles) Exec(ctx context.Context, who provision.Principal, id backend.ID, cmd backend.Command, s backend.Streams) (provision.ExecResult, error) {
	f.asked(cmd)
	if _, err := f.get(ctx, who, id); err != nil {
		return provision.ExecResult{}, err
	}
	return f.onExec(ctx, cmd, s)
}

type copyCall struct {
	Way, Host, Guest string
	Content          string
	Options          provision.CopyOptions
}

func copied(files int, size int64) provision.CopyResult {
	return provision.CopyResult{CopyReport: backend.CopyReport{Files: files, Bytes: size}}
}

func (f *fakeBottles) CopyIn(ctx context.Context, who provision.Principal, id backend.ID, host, guest string, opts provision.CopyOptions) (provision.CopyResult, error) {
	f.asked(copyCall{Way: "in", Host: host, Guest: guest, Options: opts})
	_, err := f.get(ctx, who, id)
	r := copied(3, 3000)
	r.Dirs, r.Symlinks = 2, 1
	r.Skipped = []backend.Skip{{Path: "dev/\x1b[31msda", Reason: "device"}}
	r.SkippedMore = 4
	return r, err
}

func (f *fakeBottles) CopyOut(ctx context.Context, who provision.Principal, id backend.ID, guest, host string, opts provision.CopyOptions) (provision.CopyResult, error) {
	f.asked(copyCall{Way: "out", Host: host, Guest: guest, Options: opts})
	_, err := f.get(ctx, who, id)
	r := copied(1, 10)
	r.SHA256 = strings.Repeat("ab", 32)
	return r, err
}

func (f *fakeBottles) WriteFile(ctx context.Context, who provision.Principal, id backend.ID, guest string, content []byte, opts provision.CopyOptions) (provision.CopyResult, error) {
	f.asked(copyCall{Way: "write", Guest: guest, Content: string(content), Options: opts})
	b, err := f.get(ctx, who, id)
	if err != nil {
		return provision.CopyResult{}, err
	}
	b.files[guest] = content
	return copied(1, int64(len(content))), nil
}

func (f *fakeBottles) ReadFile(ctx context.Context, who provision.Principal, id backend.ID, guest string, limit int64) ([]byte, int64, error) {
	f.asked(copyCall{Way: "read", Guest: guest})
	b, err := f.get(ctx, who, id)
	if err != nil {
		return nil, 0, err
	}
	content, ok := b.files[guest]
	if !ok {
		return nil, 0, errors.New("no such file: " + guest)
	}
	return content[:min(limit, int64(len(content)))], int64(len(content)), nil
}

func (f *fakeBottles) List(ctx context.Context, who provision.Principal) ([]provision.Bottle, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []provision.Bottle
	for _, b := range f.live {
		if who.Kind == provision.Operator || b.owner == who {
			list = append(list, b.Bottle)
		}
	}
	slices.SortFunc(list, func(a, b provision.Bottle) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return list, nil
}

func (f *fakeBottles) Get(ctx context.Context, who provision.Principal, id backend.ID) (*provision.Bottle, error) {
	b, err := f.get(ctx, who, id)
	if err != nil {
		return nil, err
	}
	return &b.Bottle, nil
}

func (f *fakeBottles) Cleanup(ctx context.Context, req provision.CleanupRequest, report func(provision.Event)) ([]provision.CleanupItem, error) {
	f.asked(req)
	report(provision.Event{Step: "remove", Index: 1, Total: 1})
	if f.cleanup != nil {
		return f.cleanup(req)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var items []provision.CleanupItem
	for _, id := range req.IDs {
		if !req.DryRun {
			delete(f.live, id)
		}
		items = append(items, provision.CleanupItem{ID: id, Action: "remove", Done: !req.DryRun})
	}
	return items, ctx.Err()
}

func (f *fakeBottles) EgressLog(ctx context.Context, who provision.Principal, id backend.ID, limit int) ([]sidecars.Decision, error) {
	b, err := f.get(ctx, who, id)
	if err != nil {
		return nil, err
	}
	return b.log[max(0, len(b.log)-limit):], nil
}

func (f *fakeBottles) OutputFile(ctx context.Context, who provision.Principal, id backend.ID) (string, io.WriteCloser, error) {
	b, err := f.get(ctx, who, id)
	if err != nil {
		return "", nil, err
	}
	if f.openLog != nil {
		if err := f.openLog(); err != nil {
			return "", nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	name := fmt.Sprintf("exec-%d.log", len(b.logs)+1)
	l := &fakeLog{}
	b.logs[name] = l
	return name, l, nil
}

func (f *fakeBottles) OpenOutput(ctx context.Context, who provision.Principal, id backend.ID, name string) (io.ReadSeekCloser, error) {
	b, err := f.get(ctx, who, id)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	l := b.logs[name]
	if l == nil {
		return nil, fmt.Errorf("output %s: %w", name, backend.ErrNotFound)
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(l.bytes()), io.NopCloser(nil)}, nil
}

// bench is a toolset over a fake, driven as a server drives it.
type bench struct {
	t     *testing.T
	fake  *fakeBottles
	tools map[string]Tool
	res   []ResourceTemplate
	in    map[string]*jsonschema.Schema
	out   map[string]*jsonschema.Schema
	close func() error
}

func newBench(t *testing.T, f *fakeBottles, limits ...Limits) *bench {
	t.Helper()
	cfg := Config{Bottles: f}
	if len(limits) > 0 {
		cfg.Limits = limits[0]
	}
	list, res, closer, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, fake: f, res: res, tools: map[string]Tool{}, in: map[string]*jsonschema.Schema{}, out: map[string]*jsonschema.Schema{}, close: closer.Close}
	t.Cleanup(func() {
		if err := closer.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	for _, tool := range list {
		b.tools[tool.Name] = tool
		b.in[tool.Name] = compile(t, tool.InputSchema)
		b.out[tool.Name] = compile(t, tool.OutputSchema)
	}
	return b
}

func compile(t testing.TB, schema json.RawMessage) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// result is a result as a client sees it.
type result struct {
	*mcp.CallToolResult
	text string
}

// call runs a tool as the operator.
func (b *bench) call(tool, args string) result {
	b.t.Helper()
	return b.callAs(b.t.Context(), tool, Call{Arguments: json.RawMessage(args), Principal: operator, Progress: func(Progress) {}})
}

// callAs runs a tool and holds the result to what every result promises.
func (b *bench) callAs(ctx context.Context, tool string, call Call) result {
	b.t.Helper()
	r := b.tools[tool].Handle(ctx, call)
	text, err := checkResult(b.out[tool], r)
	if err != nil {
		b.t.Fatalf("%s %s: %v", tool, call.Arguments, err)
	}
	return result{r, text}
}

// checkResult holds for every result of every tool: text first, no live
// control characters in it, structured content that fits its schema.
func checkResult(schema *jsonschema.Schema, r *mcp.CallToolResult) (string, error) {
	if r == nil {
		return "", errors.New("nil result")
	}
	if len(r.Content) == 0 {
		return "", errors.New("no content")
	}
	first, ok := r.Content[0].(mcp.TextContent)
	if !ok || first.Text == "" {
		return "", fmt.Errorf("first content is %#v", r.Content[0])
	}
	if got := clean([]byte(first.Text)); got != first.Text {
		return "", fmt.Errorf("text is not clean: %q", first.Text)
	}
	if _, err := json.Marshal(r); err != nil {
		return "", err
	}
	if r.StructuredContent == nil {
		if !r.IsError {
			return "", errors.New("a success without structured content")
		}
		return first.Text, nil
	}
	body, err := json.Marshal(r.StructuredContent)
	if err != nil {
		return "", err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	if err := schema.Validate(value); err != nil {
		return "", fmt.Errorf("structured content does not fit: %w\n%s", err, body)
	}
	return first.Text, nil
}

// structured reads the structured content as a client does.
func structured[T any](t *testing.T, r result) T {
	t.Helper()
	if r.IsError && r.StructuredContent == nil {
		t.Fatalf("tool error: %s", r.text)
	}
	body, err := json.Marshal(r.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// mustFail demands a tool error that holds all words and a next step.
func mustFail(t *testing.T, r result, words ...string) {
	t.Helper()
	if !r.IsError {
		t.Fatalf("want a tool error, got: %s", r.text)
	}
	for _, w := range append(words, "Next: ") {
		if !strings.Contains(r.text, w) {
			t.Errorf("error text lacks %q:\n%s", w, r.text)
		}
	}
}

func contains(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("lacks %q:\n%s", w, text)
		}
	}
}

// exits is a command that writes and ends.
func exits(code int, stdout, stderr string) execFunc {
	return func(_ context.Context, _ backend.Command, s backend.Streams) (provision.ExecResult, error) {
		_, _ = io.WriteString(s.Stdout, stdout)
		_, _ = io.WriteString(s.Stderr, stderr)
		return provision.ExecResult{Status: backend.ExitStatus{Code: code}, Duration: 12 * time.Millisecond}, nil
	}
}

// hangs is a command that writes and runs until it is killed.
func hangs(stdout string) execFunc {
	return func(ctx context.Context, _ backend.Command, s backend.Streams) (provision.ExecResult, error) {
		_, _ = io.WriteString(s.Stdout, stdout)
		<-ctx.Done()
		return provision.ExecResult{}, fmt.Errorf("exec: %w", ctx.Err())
	}
}
