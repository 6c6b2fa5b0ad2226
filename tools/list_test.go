package tools

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func TestList(t *testing.T) {
	f := newFake("a", "b", "c")
	f.live["b"].State = backend.Degraded
	f.live["b"].Services[sidecars.Egress] = false
	f.live["b"].Refusals = 3
	f.live["b"].Label = "fix\x1b[31m"
	f.live["b"].Parent = "a"
	f.live["c"].State = backend.Dead
	f.live["c"].Expires = time.Now().Add(-time.Minute)
	b := newBench(t, f)
	for name, tc := range map[string]struct {
		args  string
		ids   []string
		words []string
	}{
		"all":     {`{}`, []string{"a", "b", "c"}, []string{"3 bottles:", "- a, running", "3 refused requests", "launched by a", `"fix\\x1b[31m"`, "service egress is dead", "cleanup it"}},
		"state":   {`{"state":"dead"}`, []string{"c"}, []string{"1 bottle:", "0 ms left"}},
		"one":     {`{"id":"a"}`, []string{"a"}, []string{"5.0 MiB memory"}},
		"none":    {`{"state":"expired"}`, nil, []string{"No bottle matches", "launch"}},
		"id, not": {`{"id":"a","state":"dead"}`, nil, []string{"No bottle matches"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := b.call("list", tc.args)
			out := structured[listOutput](t, r)
			var ids []string
			for _, bottle := range out.Bottles {
				ids = append(ids, bottle.ID)
				if bottle.Details != nil {
					t.Error("details without verbose")
				}
			}
			if fmt.Sprint(ids) != fmt.Sprint(tc.ids) {
				t.Errorf("got %v, want %v", ids, tc.ids)
			}
			contains(t, r.text, tc.words...)
		})
	}
	one := structured[listOutput](t, b.call("list", `{"id":"a","verbose":true}`)).Bottles[0]
	if one.Usage.DiskBytes != nil || *one.Usage.PIDs != 3 || one.AgeSeconds < 90 || *one.ExpiresInSeconds < 3500 || one.Details == nil || one.Details.Report.Passed != 1 {
		t.Fatalf("%+v", one)
	}
	if child := structured[listOutput](t, b.call("list", `{"id":"b"}`)).Bottles[0]; child.Parent != "a" || one.Parent != "" {
		t.Errorf("parents are %q and %q", child.Parent, one.Parent)
	}
	mustFail(t, b.call("list", `{"id":"nope"}`), "no such bottle")
	mustFail(t, b.call("list", `{"id":"-x"}`), `"id"`)
	mustFail(t, b.call("list", `{"state":"happy"}`), `"state"`, "allowed: starting, running")
}

func TestListShowsOnlyOnesOwn(t *testing.T) {
	f := newFake("a")
	guest := provision.Principal{Kind: provision.Guest, Bottle: "p"}
	f.add("child", guest)
	r := newBench(t, f).callAs(t.Context(), "list", Call{Arguments: json.RawMessage(`{}`), Principal: guest})
	if out := structured[listOutput](t, r); len(out.Bottles) != 1 || out.Bottles[0].ID != "child" {
		t.Fatalf("%+v", out)
	}
}

func TestListTextIsBounded(t *testing.T) {
	f := newFake()
	for i := range maxListed + 7 {
		f.add(backend.ID(fmt.Sprintf("b%03d", i)), operator)
	}
	r := newBench(t, f).call("list", `{}`)
	if n := strings.Count(r.text, "\n- "); n != maxListed {
		t.Errorf("%d lines", n)
	}
	contains(t, r.text, "and 7 more")
}

func TestCleanup(t *testing.T) {
	mixed := []provision.CleanupItem{
		{ID: "a", Action: "remove", Done: true},
		{ID: "b", Action: "remove", Reason: "busy\nmount"},
		{ID: "c", Action: "keep", Reason: ".preserve"},
	}
	for name, tc := range map[string]struct {
		args    string
		items   []provision.CleanupItem
		err     error
		isError bool
		words   []string
	}{
		"partial":        {`{"all":true}`, mixed, nil, false, []string{"Removed 1 of 2 bottles", "- a removed", `- b NOT removed: busy\nmount`, "- c is kept: .preserve", "call cleanup again"}},
		"all failed":     {`{"all":true}`, mixed[1:], nil, true, []string{"Removed 0 of 1 bottle", "Next: "}},
		"only kept":      {`{"all":true}`, mixed[2:], nil, false, []string{"Removed 0 of 0 bottles", "c is kept"}},
		"gone":           {`{"ids":["z"]}`, []provision.CleanupItem{{ID: "z", Action: "keep", Reason: "no such bottle", Done: true}}, nil, false, []string{"z is gone already: no such bottle"}},
		"nothing":        {`{"orphans":true}`, nil, nil, false, []string{"Nothing to remove"}},
		"dry":            {`{"all":true,"dry_run":true}`, mixed[1:], nil, false, []string{"Would remove 1 of 2 bottles", "b would be removed"}},
		"ended early":    {`{"all":true}`, mixed[:1], fmt.Errorf("bottle z: %w", backend.ErrNotFound), false, []string{"a removed", "ended early: bottle z"}},
		"failed at once": {`{"all":true}`, nil, fmt.Errorf("bottle z: %w", backend.ErrNotFound), true, []string{"no such bottle", "Next: "}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.cleanup = func(provision.CleanupRequest) ([]provision.CleanupItem, error) { return tc.items, tc.err }
			r := newBench(t, f).call("cleanup", tc.args)
			if r.IsError != tc.isError {
				t.Errorf("isError is %v: %s", r.IsError, r.text)
			}
			contains(t, r.text, tc.words...)
		})
	}
}

func TestCleanupRequests(t *testing.T) {
	f := newFake("a", "b")
	b := newBench(t, f)
	r := b.call("cleanup", `{"ids":["a","b"]}`)
	if out := structured[cleanupOutput](t, r); len(out.Items) != 2 || !out.Items[1].Done || len(f.live) != 0 {
		t.Fatalf("%+v", out)
	}
	req, ok := f.lastAsked(t).(provision.CleanupRequest)
	if !ok || fmt.Sprint(req.IDs) != "[a b]" || req.Principal != operator {
		t.Fatalf("%+v", req)
	}
	for _, args := range []string{`{}`, `{"ids":["a"],"all":true}`, `{"all":true,"orphans":true}`, `{"ids":[]}`} {
		mustFail(t, b.call("cleanup", args), "exactly one of")
	}
	mustFail(t, b.call("cleanup", `{"ids":["a","../b"]}`), `"ids"`, "../b")
}
