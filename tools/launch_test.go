package tools

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

func TestLaunchHandsOverTheRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		args string
		want provision.LaunchRequest
	}{
		"nothing": {`{}`, provision.LaunchRequest{}},
		"all": {
			`{"agent":"coder","bottles":["dev","net"],"id":"my-id","label":"fix the parser","workspace":"src","prompt":"do it","env":{"A":"1"},"ttl_seconds":600,"only_hosts":["a.example","*.b.example"],"only":[{"host":"a.example","paths":["/v1"],"methods":["get"]}],"limits":{"cpus":0.5,"memory_mb":256,"disk_mb":1024,"pids":100},"backend":"linux"}`,
			provision.LaunchRequest{
				Agent: "coder", Bottles: []string{"dev", "net"}, ID: "my-id", Label: "fix the parser", Workspace: "src", Prompt: "do it",
				Env: map[string]string{"A": "1"}, TTL: 10 * time.Minute, OnlyHosts: []string{"a.example", "*.b.example"},
				Only:    []provision.OnlyRule{{Host: "a.example", Paths: []string{"/v1"}, Methods: []string{"get"}}},
				Limits:  backend.Limits{CPUs: 0.5, MemoryBytes: 256 << 20, DiskBytes: 1 << 30, PIDs: 100},
				Backend: "linux",
			},
		},
		"no network":   {`{"only_hosts":[]}`, provision.LaunchRequest{OnlyHosts: []string{}}},
		"nothing kept": {`{"only":[]}`, provision.LaunchRequest{Only: []provision.OnlyRule{}}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			structured[launchOutput](t, newBench(t, f).call("launch", tc.args))
			tc.want.Principal = operator
			if got := f.lastAsked(t); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestLaunchRefusesArguments(t *testing.T) {
	for name, tc := range map[string]struct {
		args  string
		words []string
	}{
		"agent up":         {`{"agent":"../x"}`, []string{`"agent"`, "without '..'"}},
		"agent dash":       {`{"agent":"-x"}`, []string{`"agent"`}},
		"agent slash":      {`{"agent":"a/b"}`, []string{`"agent"`}},
		"agent newline":    {`{"agent":"a\n"}`, []string{`"agent"`}},
		"bottle NUL":       {`{"bottles":["a\u0000"]}`, []string{`"bottles"`}},
		"bottle empty":     {`{"bottles":[""]}`, []string{`"bottles"`, "empty"}},
		"id":               {`{"id":"UPPER"}`, []string{`"id"`}},
		"label dash":       {`{"label":"--x"}`, []string{`"label"`, "'-'"}},
		"label newline":    {`{"label":"a\nb"}`, []string{`"label"`, "one line"}},
		"label slash":      {`{"label":"a/b"}`, []string{`"label"`, "'/'"}},
		"label override":   {`{"label":"a\u202eb"}`, []string{`"label"`}},
		"label long":       {`{"label":"` + strings.Repeat("é", 61) + `"}`, []string{`"label"`, "120 bytes"}},
		"workspace up":     {`{"workspace":"../.."}`, []string{`"workspace"`, "'..'"}},
		"workspace NUL":    {`{"workspace":"a\u0000b"}`, []string{`"workspace"`, "NUL"}},
		"workspace dash":   {`{"workspace":"-x"}`, []string{`"workspace"`}},
		"prompt NUL":       {`{"prompt":"\u0000"}`, []string{`"prompt"`}},
		"env":              {`{"env":{"1A":"x"}}`, []string{`"env"`, "1A"}},
		"ttl":              {`{"ttl_seconds":9999999}`, []string{`"ttl_seconds"`, "from 1 to 604800"}},
		"host slash":       {`{"only_hosts":["a.example/x"]}`, []string{`"only_hosts"`, "a.example/x"}},
		"host dash":        {`{"only_hosts":["-a"]}`, []string{`"only_hosts"`}},
		"only host":        {`{"only":[{"host":"a"},{"paths":["/a"]}]}`, []string{`"only[1].host"`}},
		"only URL":         {`{"only":[{"host":"https://a.example"}]}`, []string{`"only[0].host"`, "https://a.example"}},
		"only null":        {`{"only":[null]}`, []string{`"only[0].host"`}},
		"only path":        {`{"only":[{"host":"a","paths":["v1"]}]}`, []string{`"only[0].paths"`, "begin with '/'"}},
		"only unknown":     {`{"only":[{"host":"a","path":"/v1"}]}`, []string{`"only[0].path"`, "allowed: only[0].host, only[0].paths, only[0].methods"}},
		"only of names":    {`{"only":["a.example"]}`, []string{`"only[0]"`, "an object"}},
		"only no list":     {`{"only":{"host":"a"}}`, []string{`"only"`, "an array"}},
		"cpus":             {`{"limits":{"cpus":-1}}`, []string{`"limits.cpus"`}},
		"memory overflow":  {`{"limits":{"memory_mb":9223372036854775807}}`, []string{`"limits.memory_mb"`}},
		"disk":             {`{"limits":{"disk_mb":-5}}`, []string{`"limits.disk_mb"`}},
		"pids":             {`{"limits":{"pids":1}}`, []string{`"limits.pids"`}},
		"unknown limit":    {`{"limits":{"gpus":1}}`, []string{`"limits.gpus"`, "allowed: limits.cpus, limits.memory_mb, limits.disk_mb, limits.pids"}},
		"limits no object": {`{"limits":5}`, []string{`"limits"`, "an object", "number"}},
		"limit type":       {`{"limits":{"pids":"many"}}`, []string{`"limits.pids"`, "an integer"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			mustFail(t, newBench(t, f).call("launch", tc.args), tc.words...)
			if len(f.reqs) != 0 {
				t.Errorf("provision was asked for %+v", f.reqs)
			}
		})
	}
}

func TestLaunchResult(t *testing.T) {
	f := newFake()
	b := newBench(t, f)
	f.copied = &backend.CopyReport{Files: 12, Bytes: 2048, Skipped: []backend.Skip{{Path: "s\x1bock", Reason: "socket"}}}
	r := b.call("launch", `{"id":"b","workspace":"src"}`)
	out := structured[launchOutput](t, r)
	if out.ID != "b" || out.State != "running" || out.AlreadyRunning || out.DryRun || out.Plan != nil || out.Report.Passed != 1 || out.Report.Failed != 0 || out.ExpiresAt == nil || out.WorkspaceCopy.Files != 12 {
		t.Fatalf("%+v", out)
	}
	if s := out.Setup; s == nil || s.CASHA256 != "c0ffee" || s.Files != 20 || len(s.Left) != 1 || s.Left[0].Path != "/home/agent/.gemrc" {
		t.Fatalf("setup %+v", out.Setup)
	}
	if len(out.Steps) != 1 || out.Steps[0].ElapsedMS != 1.5 {
		t.Fatalf("steps %+v", out.Steps)
	}
	contains(t, r.text, "Bottle b is running", "1 passed, 0 failed", "Nothing may be reached.", "workspace (12 files, 2.0 KiB) was copied to "+backend.GuestWorkspace, "Left out 1 entry", `s\x1bock: socket`, "cgroup memory (not delegated)", "59 min", `exec {"id":"b"`)

	again := b.call("launch", `{"id":"b","workspace":"src"}`)
	if !structured[launchOutput](t, again).AlreadyRunning {
		t.Fatal("a repeated launch is not told apart")
	}
	contains(t, again.text, "was running already")
}

func TestLaunchDryRun(t *testing.T) {
	f := newFake()
	f.launch = func(func(provision.Event)) error { return errors.New("must not launch") }
	r := newBench(t, f).call("launch", `{"dry_run":true,"workspace":"src","label":"x"}`)
	out := structured[launchOutput](t, r)
	if !out.DryRun || out.State != "planned" || out.Plan == nil || out.Plan.TTLSeconds != 3600 || len(out.Plan.Steps) != 2 || out.Workspace != "src" {
		t.Fatalf("%+v", out)
	}
	contains(t, r.text, "nothing was started", "1 h 0 min", "src would be copied", "without dry_run")
}

func TestLaunchErrors(t *testing.T) {
	red := &provision.IsolationError{Report: provision.Report{Checks: []provision.Check{{Name: "tcp4-direct", As: "root", Detail: "connected\x1b[2J"}}}}
	for name, tc := range map[string]struct {
		plan, launch error
		words        []string
	}{
		"taken":       {nil, fmt.Errorf("bottle b: %w", backend.ErrExists), []string{"exists already", "choose another id"}},
		"unavailable": {&backend.UnavailableError{Backend: "linux", Reason: "user namespaces are off", Fix: "set kernel.x to 1"}, nil, []string{"user namespaces are off", "doctor", "set kernel.x to 1"}},
		"selection":   {&backend.SelectionError{Wanted: "nope", Source: "explicit"}, nil, []string{"nope", "doctor"}},
		"invalid":     {&provision.PlanError{Problems: []error{&provision.InvalidError{Field: "only_hosts", Problem: "x is not allowed", Allowed: []string{"a.example"}}}}, nil, []string{"only_hosts", "a.example", "no tool can allow it"}},
		"red":         {nil, &provision.StepError{Step: "self-test", Err: red}, []string{"tcp4-direct as root", `connected\x1b[2J`, "do not launch again"}},
		"step":        {nil, &provision.StepError{Step: "start-agent", Err: errors.New("no memory")}, []string{"start-agent", "no memory", "everything begun was removed"}},
		"cancelled":   {nil, &provision.StepError{Step: "start-agent", Err: context.Canceled}, []string{"start-agent", "cancelled"}},
		"too slow":    {nil, fmt.Errorf("waiting: %w", context.DeadlineExceeded), []string{"took too long"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.onPlan = func(provision.LaunchRequest) error { return tc.plan }
			f.launch = func(func(provision.Event)) error { return tc.launch }
			mustFail(t, newBench(t, f).call("launch", `{"id":"b"}`), tc.words...)
		})
	}
}

// TestCancelledCallIsNamed lets an engine answer a cancelled call with the
// cause alone, as context.Cause gives it.
func TestCancelledCallIsNamed(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	f := newFake()
	f.launch = func(func(provision.Event)) error {
		cancel(errors.New("the client went away"))
		return context.Cause(ctx)
	}
	r := newBench(t, f).callAs(ctx, "launch", Call{Principal: operator})
	mustFail(t, r, "the client went away", "the call was cancelled")
}
