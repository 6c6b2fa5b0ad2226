package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// FuzzArguments calls every tool with whatever comes. Each call ends in a
// result that holds to what results promise, unknown arguments are refused, and
// nothing unsafe reaches provision.
func FuzzArguments(f *testing.F) {
	names := []string{"launch", "exec", "cp", "list", "cleanup"}
	for i, args := range []string{
		`{"agent":"a","bottles":["b"],"id":"x","only_hosts":[],"limits":{"cpus":0.5},"dry_run":true}`,
		`{"id":"b","command":["ls","-l"],"env":{"A":"1"},"cwd":"src","stdin":"x","timeout_seconds":5}`,
		`{"id":"b","from":"bottle:/f","inline":true}`,
		`{"id":"b","verbose":true}`,
		`{"ids":["b"],"dry_run":true}`,
	} {
		f.Add(i, []byte(args))
	}
	f.Add(1, []byte(`{"id":"b","job":"j1","action":"wait"}`))
	f.Add(2, []byte(`{"id":"b","to":"bottle:x","content_base64":"AA=="}`))
	f.Add(1, []byte(`{"ID":"b","command":null}`))
	fake := newFake("b")
	fake.onExec = exits(0, "\x1bout", "")
	list, _, closer, err := New(Config{Bottles: fake})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = closer.Close() })
	tools, outputs, known := map[string]Tool{}, map[string]*jsonschema.Schema{}, map[string]map[string]bool{}
	for _, tool := range list {
		tools[tool.Name], outputs[tool.Name] = tool, compile(f, tool.OutputSchema)
		var schema struct{ Properties map[string]any }
		if err := json.Unmarshal(tool.InputSchema, &schema); err != nil {
			f.Fatal(err)
		}
		known[tool.Name] = map[string]bool{}
		for key := range schema.Properties {
			known[tool.Name][key] = true
		}
	}
	f.Fuzz(func(t *testing.T, tool int, args []byte) {
		fake.mu.Lock()
		fake.reqs = nil
		fake.mu.Unlock()
		fake.add("b", operator).files["/f"] = []byte("content")
		name := names[uint(tool)%uint(len(names))]
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r := tools[name].Handle(ctx, Call{Arguments: args, Principal: operator})
		if _, err := checkResult(outputs[name], r); err != nil {
			t.Fatalf("%s %s: %v", name, args, err)
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(args, &object) != nil {
			if len(bytes.TrimSpace(args)) > 0 && !r.IsError {
				t.Fatalf("%s took %q", name, args)
			}
			return
		}
		for key := range object {
			if !known[name][key] && !r.IsError {
				t.Fatalf("%s took the unknown argument %q", name, key)
			}
		}
		fake.mu.Lock()
		defer fake.mu.Unlock()
		for _, req := range fake.reqs {
			if problem := unsafe(req); problem != "" {
				t.Fatalf("%s let %s through to provision: %+v", name, problem, req)
			}
		}
	})
}

// unsafe says what in a request to provision should have been refused.
func unsafe(req any) string {
	switch r := req.(type) {
	case backend.Command:
		if len(r.Argv) == 0 || r.Argv[0] == "" || strings.ContainsRune(strings.Join(append(r.Argv, r.Env...), ""), 0) {
			return "a command without program or with NUL"
		}
		if r.Dir != "" && !cleanAbsolute(r.Dir) {
			return "a directory"
		}
	case copyCall:
		if !cleanAbsolute(r.Guest) {
			return "a guest path"
		}
		if optionOrUp(r.Host) {
			return "a host path"
		}
	case provision.LaunchRequest:
		if r.ID != "" && r.ID.Validate() != nil || optionOrUp(r.Label) || optionOrUp(r.Workspace) || r.TTL < 0 || r.Limits.MemoryBytes < 0 {
			return "a launch"
		}
		for _, name := range append(r.Bottles, r.Agent) {
			if optionOrUp(name) || strings.Contains(name, "/") {
				return "a manifest's name"
			}
		}
	case provision.CleanupRequest:
		for _, id := range r.IDs {
			if id.Validate() != nil {
				return "an id"
			}
		}
	}
	return ""
}

// optionOrUp reports text that could be taken for an option, leads upwards, or
// holds what ends a line or a string.
func optionOrUp(s string) bool {
	return strings.HasPrefix(s, "-") || strings.ContainsAny(s, "\x00\n") || slices.Contains(strings.Split(s, "/"), "..")
}

func cleanAbsolute(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && !strings.ContainsAny(p, "\x00\n")
}
