package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

func TestNewRefusesUnsoundTools(t *testing.T) {
	sound := func() tools.Tool { return fakeTool("good", `"a":{"type":"string"}`, stepper) }
	for name, c := range map[string]struct {
		change func(*tools.Tool)
		want   string
	}{
		"bad name":         {func(t *tools.Tool) { t.Name = "no spaces" }, "the name must match"},
		"long name":        {func(t *tools.Tool) { t.Name = strings.Repeat("a", 65) }, "the name must match"},
		"no description":   {func(t *tools.Tool) { t.Description = "" }, "the description is empty"},
		"no handler":       {func(t *tools.Tool) { t.Handle = nil }, "there is no handler"},
		"no annotations":   {func(t *tools.Tool) { t.Annotations = mcp.ToolAnnotation{} }, "all four annotations must be explicit"},
		"one missing":      {func(t *tools.Tool) { t.Annotations.OpenWorldHint = nil }, "all four annotations must be explicit"},
		"no input schema":  {func(t *tools.Tool) { t.InputSchema = nil }, "input schema: not valid JSON"},
		"not JSON":         {func(t *tools.Tool) { t.InputSchema = json.RawMessage(`{"type":`) }, "input schema: not valid JSON"},
		"two documents":    {func(t *tools.Tool) { t.InputSchema = json.RawMessage(`{} {}`) }, "input schema: not valid JSON"},
		"bad type":         {func(t *tools.Tool) { t.InputSchema = json.RawMessage(`{"type":"strin"}`) }, "input schema: does not compile"},
		"bad pattern":      {func(t *tools.Tool) { t.InputSchema = schemaOf(`{"type":"string","pattern":"("}`) }, "input schema: does not compile"},
		"no object":        {func(t *tools.Tool) { t.InputSchema = json.RawMessage(`{"type":"string"}`) }, `the root must have "type": "object"`},
		"open input":       {func(t *tools.Tool) { t.InputSchema = json.RawMessage(`{"type":"object"}`) }, `"additionalProperties": false`},
		"file reference":   {func(t *tools.Tool) { t.InputSchema = schemaOf(`{"$ref":"file:///etc/hostname"}`) }, "a schema must be self-contained"},
		"web reference":    {func(t *tools.Tool) { t.OutputSchema = schemaOf(`{"$ref":"http://127.0.0.1:1/x"}`) }, "output schema: does not compile"},
		"output no object": {func(t *tools.Tool) { t.OutputSchema = json.RawMessage(`{"type":"array"}`) }, `output schema: the root must have "type": "object"`},
	} {
		t.Run(name, func(t *testing.T) {
			tool := sound()
			c.change(&tool)
			_, err := New(Config{Name: "s", Version: "1", Tools: []tools.Tool{tool}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	t.Run("sound", func(t *testing.T) {
		if _, err := New(Config{Name: "s", Version: "1", Tools: []tools.Tool{sound()}}); err != nil {
			t.Error(err)
		}
	})
	t.Run("twice, and all problems at once", func(t *testing.T) {
		other := sound()
		other.Name, other.Description = "other", ""
		_, err := New(Config{Tools: []tools.Tool{sound(), sound(), other}})
		for _, want := range []string{`"good" is defined twice`, `"other": the description is empty`, "name and version"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v lacks %q", err, want)
			}
		}
	})
}

func schemaOf(property string) json.RawMessage {
	return json.RawMessage(`{"type":"object",` + closedRoot + `,"properties":{"a":` + property + `}}`)
}

func TestNewRefusesUnsoundResources(t *testing.T) {
	read := func(context.Context, provision.Principal, string) ([]mcp.ResourceContents, error) { return nil, nil }
	good := tools.ResourceTemplate{URITemplate: "bottle://{id}/log", Name: "log", Description: "d", Read: read}
	bad, unnamed := good, good
	bad.URITemplate, unnamed.Name = "bottle://{id/log", ""
	for want, list := range map[string][]tools.ResourceTemplate{
		"bad URI template":                  {bad},
		"defined twice":                     {good, good},
		"needs a name, a description and a": {unnamed},
	} {
		_, err := New(Config{Name: "s", Version: "1", Resources: list})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestResources(t *testing.T) {
	read := func(_ context.Context, who provision.Principal, uri string) ([]mcp.ResourceContents, error) {
		switch uri {
		case "bottle://good/log":
			return []mcp.ResourceContents{mcp.TextResourceContents{URI: uri, MIMEType: "text/plain", Text: string(who.Kind)}}, nil
		case "bottle://panics/log":
			panic(panicText)
		case "bottle://fails/log":
			return nil, errors.New("hunter2 is in the error")
		default:
			return nil, fmt.Errorf("bottle: %w", tools.ErrNoResource)
		}
	}
	s, err := New(Config{Name: "s", Version: "1", Resources: []tools.ResourceTemplate{{
		URITemplate: "bottle://{id}/log", Name: "log", Title: "Log", Description: "d", MIMEType: "text/plain", Read: read,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Server: s}
	c := connectStdio(t, f)
	c.send(`{"jsonrpc":"2.0","id":"t","method":"resources/templates/list"}`)
	if got := c.box().answer(t, `"t"`).raw; !strings.Contains(got, `"uriTemplate":"bottle://{id}/log"`) {
		t.Errorf("templates: %s", got)
	}
	for i, want := range map[int]struct {
		uri, text string
		code      int
	}{
		1: {uri: "bottle://good/log", text: `"text":"operator"`},
		2: {uri: "bottle://none/log", code: mcp.RESOURCE_NOT_FOUND, text: "resource not found: bottle://none/log"},
		3: {uri: "bottle://panics/log", code: mcp.INTERNAL_ERROR, text: "internal error "},
		4: {uri: "bottle://fails/log", code: mcp.INTERNAL_ERROR, text: "internal error "},
		5: {uri: "other://x", code: mcp.RESOURCE_NOT_FOUND, text: "not found"},
	} {
		id := fmt.Sprint(i)
		c.send(`{"jsonrpc":"2.0","id":` + id + `,"method":"resources/read","params":{"uri":"` + want.uri + `"}}`)
		got := c.box().answer(t, id)
		code := 0
		if got.Error != nil {
			code = got.Error.Code
		}
		if code != want.code || !strings.Contains(got.raw, want.text) || strings.Contains(got.raw, "hunter2") {
			t.Errorf("%s: %s", want.uri, got.raw)
		}
	}
}

func TestInstructionsAreADozenLines(t *testing.T) {
	lines := strings.Split(Instructions, "\n")
	if len(lines) > 14 {
		t.Errorf("%d lines", len(lines))
	}
	for _, word := range []string{"launch", "exec", "cp", "list", "cleanup", "dry_run", "background", "no tool approves", "narrow"} {
		if !strings.Contains(Instructions, word) {
			t.Errorf("the instructions do not speak of %q", word)
		}
	}
}

func TestCallDetails(t *testing.T) {
	bothTransports(t, Limits{}, func(t *testing.T, _ *fixture, c client) {
		for i, want := range []struct{ message, text string }{
			{`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"whoami"}}`, `"text":"operator operator false"`},
			{`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"whoami","arguments":null}}`, `"text":"operator operator false"`},
			{`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"whoami","_meta":{"progressToken":0}}}`, `"text":"operator operator true"`},
			{`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"whoami","_meta":{"progressToken":null}}}`, `"text":"operator operator false"`},
			{`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"fails"}}`, `"text":"do this instead"`},
			{`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"whoami","arguments":[1]}}`, "the arguments must be an object, not an array"},
			{`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"nope"}}`, `"code":-32602,"message":"unknown tool \"nope\"; available: dirty, `},
			{`{"jsonrpc":"2.0","id":%s,"method":"tools/call"}`, `"code":-32602`},
			{`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":5}}`, `"code":-32602`},
			{`{"jsonrpc":"2.0","id":%s,"method":"no/such"}`, `"code":-32601`},
		} {
			id := fmt.Sprint(100 + i)
			c.send(fmt.Sprintf(want.message, id))
			if got := c.box().answer(t, id); !strings.Contains(got.raw, want.text) {
				t.Errorf("%s: %s lacks %s", want.message, got.raw, want.text)
			}
		}
	})
}

func TestIDsKeepTheirSpelling(t *testing.T) {
	bothTransports(t, Limits{}, func(t *testing.T, f *fixture, c client) {
		for _, id := range []string{`9007199254740993`, `"9007199254740993"`, `-1`, `""`, `"a\nb"`, `1e3`} {
			c.send(callText(id, "quick", `{"note":"n"}`, ""))
			c.box().answer(t, id)
		}
		// Beyond 2^53 neighbours round to one number: the right one must end.
		c.send(callText(`9007199254740992`, "slow", `{"note":"even"}`, ""))
		c.send(callText(`9007199254740993`, "slow", `{"note":"odd"}`, ""))
		receive(t, f.started, "start")
		receive(t, f.started, "start")
		c.send(cancelText(`9007199254740993`))
		if got := receive(t, f.ended, "end"); !strings.HasPrefix(got, "odd: ") {
			t.Errorf("ended: %q", got)
		}
		// An id that is in use is refused, and the call that has it goes on.
		c.send(callText(`9007199254740992`, "quick", `{}`, ""))
		if got := c.box().answer(t, `9007199254740992`); got.Error == nil || !strings.Contains(got.Error.Message, "still running") {
			t.Errorf("a second use: %s", got.raw)
		}
		c.send(cancelText(`9007199254740992`))
		receive(t, f.ended, "end")
	})
}

func TestLogLevelIsPerSession(t *testing.T) {
	f := newFixture(t, Limits{})
	w := serveHTTP(t, f, HTTPConfig{})
	a, b := w.connect(t), w.connect(t)
	const set = `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"%s"}}`
	a.send(fmt.Sprintf(set, "debug"))
	if got := a.box().answer(t, "1"); got.Error != nil {
		t.Fatalf("setLevel: %s", got.raw)
	}
	b.send(fmt.Sprintf(set, "loud"))
	if got := b.box().answer(t, "1"); got.Error == nil || got.Error.Code != mcp.INVALID_PARAMS {
		t.Errorf("a bad level: %s", got.raw)
	}
}
