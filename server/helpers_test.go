package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bottle-mcp/bottle-mcp/tools"
)

const (
	patience   = 10 * time.Second // for what must happen
	panicText  = "token hunter2 in a panic"
	closedRoot = `"additionalProperties":false`
)

func annotations() mcp.ToolAnnotation {
	yes, no := mcp.ToBoolPtr(true), mcp.ToBoolPtr(false)
	return mcp.ToolAnnotation{ReadOnlyHint: no, DestructiveHint: no, IdempotentHint: no, OpenWorldHint: yes}
}

type handler = func(context.Context, tools.Call) *mcp.CallToolResult

func fakeTool(name, properties string, handle handler) tools.Tool {
	return tools.Tool{
		Name: name, Title: name, Description: "does " + name, Annotations: annotations(),
		InputSchema:  json.RawMessage(`{"type":"object",` + closedRoot + `,"properties":{` + properties + `}}`),
		OutputSchema: json.RawMessage(`{"type":"object","properties":{"ok":{"type":"boolean"},"note":{"type":"string"}},"required":["ok"]}`),
		Handle:       handle,
	}
}

func success(note string) *mcp.CallToolResult {
	return mcp.NewToolResultStructured(map[string]any{"ok": true, "note": note}, note)
}

// fixture is a server over fake tools, and what happened in them.
type fixture struct {
	*Server
	started chan string // the note of each slow call as it begins
	ended   chan string // and as it ends, with how
	release chan struct{}
	logged  *logBuffer
}

func newFixture(t *testing.T, limits Limits, more ...tools.Tool) *fixture {
	t.Helper()
	f := &fixture{
		started: make(chan string, 1000), ended: make(chan string, 1000),
		release: make(chan struct{}), logged: &logBuffer{},
	}
	s, err := New(Config{
		Name: "bottle-mcp", Version: "0.0.1", Limits: limits,
		Tools:  append(f.tools(), more...),
		Logger: slog.New(slog.NewTextHandler(f.logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Server = s
	t.Cleanup(func() { close(f.release) })
	return f
}

func (f *fixture) tools() []tools.Tool {
	return []tools.Tool{
		fakeTool("quick", `"note":{"type":"string"}`, func(_ context.Context, c tools.Call) *mcp.CallToolResult {
			return success(noteOf(c))
		}),
		fakeTool("slow", `"note":{"type":"string"},"steps":{"type":"integer"}`, f.slow),
		fakeTool("stubborn", `"note":{"type":"string"}`, func(_ context.Context, c tools.Call) *mcp.CallToolResult {
			f.started <- noteOf(c)
			<-f.release // whatever the context says
			return success("released")
		}),
		fakeTool("stepper", `"steps":{"type":"integer"}`, stepper),
		fakeTool("panics", ``, func(context.Context, tools.Call) *mcp.CallToolResult { panic(panicText) }),
		fakeTool("nothing", ``, func(context.Context, tools.Call) *mcp.CallToolResult { return nil }),
		fakeTool("mute", ``, func(context.Context, tools.Call) *mcp.CallToolResult { return mcp.NewToolResultText("no structure") }),
		fakeTool("liar", ``, func(context.Context, tools.Call) *mcp.CallToolResult {
			return mcp.NewToolResultStructured(map[string]any{"ok": "yes"}, "yes")
		}),
		fakeTool("fails", ``, func(context.Context, tools.Call) *mcp.CallToolResult {
			return mcp.NewToolResultError("do this instead")
		}),
		fakeTool("dirty", ``, func(context.Context, tools.Call) *mcp.CallToolResult { return success("a\x1b[2Jb\x00c\r\nd\te") }),
		fakeTool("huge", ``, func(context.Context, tools.Call) *mcp.CallToolResult { return success(strings.Repeat("x", 3<<20)) }),
		fakeTool("whoami", ``, func(ctx context.Context, c tools.Call) *mcp.CallToolResult {
			inContext, _ := PrincipalFromContext(ctx)
			return success(fmt.Sprintf("%s %s %t", c.Principal.Kind, inContext.Kind, c.WantsProgress))
		}),
	}
}

// fuzzTools are those that end at once.
func fuzzTools() []tools.Tool {
	all := (&fixture{}).tools()
	var quick []tools.Tool
	for _, tool := range all {
		if tool.Name != "slow" && tool.Name != "stubborn" && tool.Name != "stepper" {
			quick = append(quick, tool)
		}
	}
	return quick
}

// slow runs until it is cancelled or the fixture ends.
func (f *fixture) slow(ctx context.Context, c tools.Call) *mcp.CallToolResult {
	note := noteOf(c)
	f.started <- note
	select {
	case <-ctx.Done():
		f.ended <- note + ": " + context.Cause(ctx).Error()
		return mcp.NewToolResultError("cancelled")
	case <-f.release:
		return success("released")
	}
}

// stepper reports and returns at once: the case in which progress gets late.
func stepper(_ context.Context, c tools.Call) *mcp.CallToolResult {
	var in struct{ Steps int }
	_ = json.Unmarshal(c.Arguments, &in)
	for i := range in.Steps {
		c.Progress(tools.Progress{Current: float64(i + 1), Total: float64(in.Steps), Message: fmt.Sprint("step ", i+1)})
	}
	late := c.Progress
	time.AfterFunc(time.Millisecond, func() { late(tools.Progress{Current: 1e6, Message: "too late"}) })
	return success("stepped")
}

func noteOf(c tools.Call) string {
	var in struct{ Note string }
	_ = json.Unmarshal(c.Arguments, &in)
	return in.Note
}

// logBuffer collects log lines from any goroutine.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// envelope is a message from the server.
type envelope struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Token    json.RawMessage `json:"progressToken"`
		Progress float64         `json:"progress"`
		Total    float64         `json:"total"`
		Message  string          `json:"message"`
	} `json:"params"`
	Result *struct {
		Content           []struct{ Type, Text string } `json:"content"`
		StructuredContent json.RawMessage               `json:"structuredContent"`
		IsError           bool                          `json:"isError"`
	} `json:"result"`
	Error *struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	} `json:"error"`
	raw string
	at  time.Time
}

func (e envelope) text() string {
	if e.Result == nil || len(e.Result.Content) == 0 {
		return ""
	}
	return e.Result.Content[0].Text
}

// inbox holds what a client received, in order.
type inbox struct {
	mu     sync.Mutex
	frames []envelope
	junk   []string // what is not JSON-RPC
	news   chan struct{}
}

func newInbox() *inbox { return &inbox{news: make(chan struct{})} }

func (b *inbox) add(raw string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := envelope{raw: raw, at: time.Now()}
	if err := json.Unmarshal([]byte(raw), &e); err != nil || !strings.Contains(raw, `"jsonrpc":"2.0"`) {
		b.junk = append(b.junk, raw)
	}
	b.frames = append(b.frames, e)
	close(b.news)
	b.news = make(chan struct{})
}

func (b *inbox) all() []envelope {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]envelope(nil), b.frames...)
}

// find waits for the first frame that holds.
func (b *inbox) find(t *testing.T, what string, holds func(envelope) bool) envelope {
	t.Helper()
	deadline := time.After(patience)
	for next := 0; ; {
		b.mu.Lock()
		frames, news := b.frames, b.news
		b.mu.Unlock()
		for ; next < len(frames); next++ {
			if holds(frames[next]) {
				return frames[next]
			}
		}
		select {
		case <-news:
		case <-deadline:
			t.Fatalf("no %s among %d frames", what, next)
		}
	}
}

func (b *inbox) answer(t *testing.T, id string) envelope {
	t.Helper()
	return b.find(t, "answer to "+id, func(e envelope) bool { return e.Method == "" && string(e.ID) == id })
}

func (b *inbox) none(t *testing.T, id string) {
	t.Helper()
	for _, e := range b.all() {
		if e.Method == "" && string(e.ID) == id {
			t.Errorf("there is an answer to %s: %s", id, e.raw)
		}
	}
}

// client is one MCP client over either transport.
type client interface {
	// send sends one message without waiting for its answer.
	send(raw string)
	box() *inbox
}

func callText(id, tool, arguments, token string) string {
	meta := ""
	if token != "" {
		meta = `,"_meta":{"progressToken":` + token + `}`
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s%s}}`, id, tool, arguments, meta)
}

func cancelText(id string) string {
	return `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `,"reason":"test"}}`
}

func pingText(id string) string { return `{"jsonrpc":"2.0","id":` + id + `,"method":"ping"}` }

const initializeText = `{"jsonrpc":"2.0","id":"init","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// bothTransports runs a test on a connected client of each transport.
func bothTransports(t *testing.T, limits Limits, test func(t *testing.T, f *fixture, c client)) {
	t.Helper()
	t.Run("stdio", func(t *testing.T) {
		f := newFixture(t, limits)
		c := connectStdio(t, f)
		test(t, f, c)
		c.shut(t)
	})
	t.Run("http", func(t *testing.T) {
		f := newFixture(t, limits)
		test(t, f, serveHTTP(t, f, HTTPConfig{}).connect(t))
	})
}

func receive(t *testing.T, from <-chan string, what string) string {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s in time", what)
		return ""
	}
}

// stdioClient is a client on pipes.
type stdioClient struct {
	in       *io.PipeWriter
	frames   *inbox
	done     chan error
	cancel   context.CancelFunc
	sendLock sync.Mutex
}

func connectStdio(t *testing.T, f *fixture) *stdioClient {
	t.Helper()
	c := openStdio(t, f)
	c.send(initializeText)
	c.frames.answer(t, `"init"`)
	return c
}

func openStdio(t *testing.T, f *fixture) *stdioClient {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	c := &stdioClient{in: inW, frames: newInbox(), done: make(chan error, 1), cancel: cancel}
	go func() {
		c.done <- f.ServeStdio(ctx, inR, outW)
		outW.Close()
		inR.Close()
	}()
	go func() {
		for l := range readLines(context.Background(), outR, 64<<20) {
			c.frames.add(strings.TrimSuffix(string(l.data), "\n"))
		}
	}()
	t.Cleanup(func() { cancel(); inW.Close() })
	return c
}

func (c *stdioClient) box() *inbox { return c.frames }

func (c *stdioClient) send(raw string) { c.write(raw + "\n") }

func (c *stdioClient) write(raw string) {
	c.sendLock.Lock()
	defer c.sendLock.Unlock()
	_, _ = io.WriteString(c.in, raw) // a closed server is found by what is awaited
}

// shut ends the input and checks that the server ended well and wrote nothing
// but protocol.
func (c *stdioClient) shut(t *testing.T) {
	t.Helper()
	c.in.Close()
	if err := c.wait(t); err != nil {
		t.Errorf("ServeStdio: %v", err)
	}
	for _, junk := range c.frames.junk {
		t.Errorf("not JSON-RPC on stdout: %q", junk)
	}
}

func (c *stdioClient) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-c.done:
		return err
	case <-time.After(patience):
		t.Fatal("ServeStdio did not return")
		return nil
	}
}
