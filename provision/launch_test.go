package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

const (
	secretToken = "s3cr3t-value-of-the-token"
	fullBottle  = `
env: {PLAIN: text, COPIED: "${FROM_HOST}"}
egress:
  routes:
    - {host: a.example.com, auth: {scheme: Bearer, token_ref: TOKEN}}
    - {host: b.example.com, auth: {scheme: token, token_ref: TOKEN}, ports: [8443]}
    - {host: c.example.com, auth: {scheme: token, token_ref: OTHER}}
    - {host: "*.d.example.com", private: [10.0.0.0/8]}
ttl: 1h
resources: {pids: 100}`
)

// fullBed has a bottle that uses everything, and a workspace.
func fullBed(t *testing.T) (*bed, LaunchRequest) {
	t.Helper()
	b := newBed(t)
	b.bottleFile("full", fullBottle)
	for name, value := range map[string]string{"TOKEN": secretToken, "OTHER": "other-" + secretToken, "FROM_HOST": "from the host"} {
		b.setenv(name, value)
	}
	put(t, b.root, "ws/main.go", "package main")
	put(t, b.root, "ws/.git/HEAD", "ref: refs/heads/main")
	return b, LaunchRequest{Bottles: []string{"full"}, Label: "My Task", Workspace: "ws", Prompt: "do it", Env: map[string]string{"MINE": "x"}}
}

func TestLaunch(t *testing.T) {
	b, req := fullBed(t)
	p := b.plan(req)
	want := []string{"reserve", "render", "start-sidecar", "wire-environment", "start-agent", "self-test", "configure", "copy-workspace", "write-prompt", "ready"}
	if !slices.Equal(p.Steps, want) {
		t.Errorf("steps are %v", p.Steps)
	}
	if len(b.fake.called()) > 0 || len(grep(t, b.store.BottlesDir(), "")) > 0 {
		t.Error("planning started something")
	}
	var events []Event
	live, err := b.Launch(t.Context(), p, func(e Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	if got := b.fake.called(); !slices.Equal(got, []string{"StartSidecar", "StartAgent", "Exec", "Exec", "Exec", "CopyIn"}) {
		t.Errorf("calls are %v", got)
	}
	var names []string
	for i, e := range events {
		if e.Index != i/2+1 || e.Total != len(want) || e.Done != (i%2 == 1) || (e.Elapsed > 0) != e.Done {
			t.Errorf("event %d is %+v", i, e)
		}
		if e.Done {
			names = append(names, e.Step)
		}
	}
	if !slices.Equal(names, want) || len(events) != 2*len(want) {
		t.Errorf("events are %+v", events)
	}
	if live.State != backend.Running || live.AlreadyRan || !strings.HasPrefix(string(live.ID), "my-task-") || len(live.ID) != len("my-task-")+5 {
		t.Errorf("bottle is %+v", live)
	}
	if live.Report.Red != 0 || len(live.Report.Checks) < 40 || live.Report.Walls[0] != "wall" || live.WorkspaceCopy.Files != 2 {
		t.Errorf("report is %+v, copied %+v", live.Report, live.WorkspaceCopy)
	}
	b.checkGuest(live.ID)
	b.checkNoSecret()
	got, err := b.Get(t.Context(), operator, live.ID)
	if err != nil {
		t.Fatal(err)
	}
	got.StepTimings, live.StepTimings, got.Usage, live.Usage = nil, nil, backend.Usage{}, backend.Usage{}
	if !reflect.DeepEqual(got, live) {
		t.Errorf("Get says\n%+v, Launch said\n%+v", got, live)
	}
}

// checkGuest looks at what the engine and the guest were given.
func (b *bed) checkGuest(id backend.ID) {
	b.t.Helper()
	f := b.fake.bottles[id]
	slot := func(n string) *sidecars.Auth { return &sidecars.Auth{Scheme: n, Slot: "EGRESS_TOKEN_0"} }
	routes := []sidecars.Route{
		{Host: "a.example.com", Auth: slot("Bearer")},
		{Host: "b.example.com", Auth: slot("token"), Ports: []int{8443}},
		{Host: "c.example.com", Auth: &sidecars.Auth{Scheme: "token", Slot: "EGRESS_TOKEN_1"}},
		{Host: "*.d.example.com", Private: []string{"10.0.0.0/8"}},
	}
	if !reflect.DeepEqual(f.sidecar.Config.Routes, routes) {
		b.t.Errorf("routes are %+v", f.sidecar.Config.Routes)
	}
	tokens := f.sidecar.Secrets.Tokens
	if len(tokens) != 2 || tokens["EGRESS_TOKEN_0"].Reveal() != secretToken || tokens["EGRESS_TOKEN_1"].Reveal() != "other-"+secretToken {
		b.t.Errorf("tokens are wrong: %d", len(tokens))
	}
	if f.sidecar.Owner != b.store.Owner() || !strings.Contains(f.sidecar.Secrets.CAKey.Reveal(), "PRIVATE KEY") || !strings.Contains(string(f.agent.CACert), "CERTIFICATE") {
		b.t.Errorf("sidecar is %+v", f.sidecar)
	}
	for _, want := range []string{"PLAIN=text", "COPIED=from the host", "MINE=x", "HTTPS_PROXY=http://127.0.0.1:9099", "no_proxy=localhost,127.0.0.1,::1,192.0.2.9"} {
		if !slices.Contains(f.agent.Env, want) {
			b.t.Errorf("the guest's environment lacks %s", want)
		}
	}
	if l := f.agent.Limits; l.PIDs != 100 || l.DiskBytes != defaultDisk || f.agent.Isolation != "namespace" {
		b.t.Errorf("agent is %+v", f.agent)
	}
	for path, want := range map[string]string{
		backend.GuestWorkspace + "/.git/HEAD": "ref: refs/heads/main", backend.GuestWorkspace + "/main.go": "package main", promptFile: "do it\n",
	} {
		if data, err := os.ReadFile(b.fake.guest(id, path)); err != nil || string(data) != want {
			b.t.Errorf("%s holds %q, %v", path, data, err)
		}
	}
}

// checkNoSecret looks for the token in everything that is kept.
func (b *bed) checkNoSecret() {
	b.t.Helper()
	for _, dir := range []string{b.store.Path(), b.fake.dir} {
		if found := grep(b.t, dir, secretToken); len(found) > 0 {
			b.t.Errorf("the token is in %v", found)
		}
	}
	for _, f := range b.fake.bottles {
		if strings.Contains(fmt.Sprintf("%+v %#v", f.sidecar, f.sidecar), secretToken) {
			b.t.Error("the token prints")
		}
	}
}

// failures break one step each.
func failures() map[string]func(*bed) {
	errBroken := errors.New("broken on purpose")
	method := func(name string) func(*bed) { return func(b *bed) { b.fake.fail[name] = errBroken } }
	return map[string]func(*bed){
		"reserve":          func(b *bed) { _ = b.store.Close() },
		"render":           func(b *bed) { b.setenv("OTHER", "") },
		"start-sidecar":    method("StartSidecar"),
		"wire-environment": func(b *bed) { b.setenv("FROM_HOST", "") },
		"start-agent":      method("StartAgent"),
		"self-test":        method("Exec"),
		"configure": func(b *bed) { // what the image has in a place of ours
			b.fake.before = func(method string) {
				if method == "Exec" {
					put(b.t, b.fake.guest("the-id", backend.AgentHome), ".bottle/env.sh/x", "")
				}
			}
		},
		"copy-workspace": method("CopyIn"),
		"write-prompt": func(b *bed) {
			b.fake.before = func(method string) {
				if method == "CopyIn" { // something else is in the place of the file
					put(b.t, b.fake.guest("the-id", backend.AgentHome), ".bottle/prompt.md/x", "")
				}
			}
		},
		"ready": func(b *bed) {
			b.fake.before = func(method string) {
				if method == "CopyIn" { // a record can be written no more
					put(b.t, b.store.BottlesDir(), "the-id/.metadata.json.new/x", "")
				}
			}
		},
	}
}

func TestRollback(t *testing.T) {
	b, req := fullBed(t)
	steps := b.plan(req).Steps
	if len(failures()) != len(steps) {
		t.Fatalf("%d steps and %d failures", len(steps), len(failures()))
	}
	for _, name := range steps {
		t.Run(name, func(t *testing.T) {
			b, req := fullBed(t)
			req.ID = "the-id"
			p := b.plan(req)
			failures()[name](b)
			_, err := b.Launch(t.Context(), p, nil)
			var failed *StepError
			if !errors.As(err, &failed) || failed.Step != name || failed.Rollback != nil {
				t.Fatalf("error is %v", err)
			}
			if strings.Contains(err.Error(), secretToken) {
				t.Errorf("the error holds the token: %v", err)
			}
			b.nothingLeft()
		})
	}
}

func TestCancelAtEveryStep(t *testing.T) {
	b, req := fullBed(t)
	for _, name := range b.plan(req).Steps {
		t.Run(name, func(t *testing.T) {
			b, req := fullBed(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := b.Launch(ctx, b.plan(req), func(e Event) {
				if e.Step == name {
					cancel()
				}
			})
			var failed *StepError
			if !errors.As(err, &failed) || failed.Step != name || !errors.Is(err, context.Canceled) || failed.Rollback != nil {
				t.Errorf("error is %v", err)
			}
			b.nothingLeft()
		})
	}
}

func TestRollbackFails(t *testing.T) {
	b, req := fullBed(t)
	p := b.plan(req)
	b.fake.fail["StartAgent"], b.fake.fail["Remove"] = errors.New("no agent"), errors.New("no removal")
	_, err := b.Launch(t.Context(), p, nil)
	var failed *StepError
	if !errors.As(err, &failed) || failed.Rollback == nil || !strings.Contains(err.Error(), "run cleanup") {
		t.Fatalf("error is %v", err)
	}
	r, err := b.store.Read(p.ID)
	if err != nil || r.Phase != state.Removing || !strings.Contains(r.Problem, "no removal") {
		t.Fatalf("record is %+v, %v", r, err)
	}
	if _, err := b.usable(operator, p.ID); !errors.Is(err, backend.ErrNotRunning) {
		t.Errorf("a half-removed bottle is usable: %v", err)
	}
	delete(b.fake.fail, "Remove")
	if items, err := b.Reconcile(t.Context()); err != nil || len(items) != 1 || !items[0].Done {
		t.Errorf("reconcile: %+v, %v", items, err)
	}
	b.nothingLeft()
}

// TestEngineKnowsID: a bottle that no record knows is not this launch's.
func TestEngineKnowsID(t *testing.T) {
	b, req := fullBed(t)
	req.ID = "x"
	if _, err := b.fake.StartSidecar(t.Context(), backend.SidecarSpec{ID: "x", Owner: b.store.Owner()}); err != nil {
		t.Fatal(err)
	}
	_, err := b.Launch(t.Context(), b.plan(req), nil)
	if !errors.Is(err, backend.ErrExists) || b.fake.bottles["x"] == nil {
		t.Errorf("error %v, bottle %v", err, b.fake.bottles["x"])
	}
	if _, err := b.store.Read("x"); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("the record stays: %v", err)
	}
}

func TestIdempotentID(t *testing.T) {
	b, req := fullBed(t)
	req.ID = "mine"
	first := b.launch(req)
	b.fake.called()
	again := b.launch(req)
	if !again.AlreadyRan || again.ID != first.ID || !again.Created.Equal(first.Created) || slices.Contains(b.fake.called(), "StartSidecar") {
		t.Errorf("the second launch is %+v", again)
	}
	tests := []struct {
		name   string
		change func(*LaunchRequest)
	}{
		{"prompt", func(r *LaunchRequest) { r.Prompt = "other" }},
		{"env", func(r *LaunchRequest) { r.Env = map[string]string{"MINE": "y"} }},
		{"hosts", func(r *LaunchRequest) { r.OnlyHosts = []string{} }},
		{"ttl", func(r *LaunchRequest) { r.TTL = time.Minute }},
		{"limits", func(r *LaunchRequest) { r.Limits.PIDs = 3 }},
		{"workspace", func(r *LaunchRequest) { r.Workspace = "" }},
		{"label", func(r *LaunchRequest) { r.Label = "other" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			other := req
			tt.change(&other)
			_, err := b.Launch(t.Context(), b.plan(other), nil)
			if !errors.Is(err, backend.ErrExists) || !strings.Contains(err.Error(), "other settings") {
				t.Errorf("error is %v", err)
			}
		})
	}
	b.fake.set("mine", backend.Dead)
	if _, err := b.Launch(t.Context(), b.plan(req), nil); !errors.Is(err, backend.ErrExists) || !strings.Contains(err.Error(), "is dead") {
		t.Errorf("dead: %v", err)
	}
}

// TestSameIDAtOnce launches one plan from two servers many times at once.
func TestSameIDAtOnce(t *testing.T) {
	b, req := fullBed(t)
	req.ID = "mine"
	other := b.manager(openStore(t, b.store.Path()))
	var wg sync.WaitGroup
	var mu sync.Mutex
	started := 0
	for i := range 8 {
		wg.Go(func() {
			m := []*Manager{b.Manager, other}[i%2]
			req := req
			req.Principal = operator
			p, err := m.Plan(t.Context(), req)
			if err != nil {
				t.Error(err)
				return
			}
			live, err := m.Launch(t.Context(), p, nil)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if !live.AlreadyRan {
				started++
			}
		})
	}
	wg.Wait()
	if started != 1 {
		t.Errorf("%d launches started the bottle", started)
	}
}

func TestTakenName(t *testing.T) {
	b, req := fullBed(t)
	req.ID = "taken"
	put(t, b.store.BottlesDir(), "taken", "a file that is not ours")
	if _, err := b.Launch(t.Context(), b.plan(req), nil); !errors.Is(err, backend.ErrExists) {
		t.Errorf("error is %v", err)
	}
}

func TestForeignPlan(t *testing.T) {
	b, req := fullBed(t)
	for _, p := range []*Plan{nil, {ID: "x"}, b.manager(b.store).mustPlan(t, req)} {
		if _, err := b.Launch(t.Context(), p, nil); err == nil || !strings.Contains(err.Error(), "call Plan first") {
			t.Errorf("error is %v", err)
		}
	}
}

func (m *Manager) mustPlan(t *testing.T, req LaunchRequest) *Plan {
	t.Helper()
	req.Principal = operator
	p, err := m.Plan(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestNotUsableBefore: until the self-test was green no call reaches the guest.
func TestNotUsableBefore(t *testing.T) {
	b, req := fullBed(t)
	req.ID = "x"
	tried := false
	_, err := b.Launch(t.Context(), b.plan(req), func(e Event) {
		if e.Step == "copy-workspace" {
			tried = true
			if _, err := b.Exec(t.Context(), operator, "x", backend.Command{Argv: []string{"id"}}, backend.Streams{}); !errors.Is(err, backend.ErrNotRunning) {
				t.Errorf("exec: %v", err)
			}
			if l, err := b.Get(t.Context(), operator, "x"); err != nil || l.State != backend.Starting {
				t.Errorf("get: %+v, %v", l, err)
			}
		}
	})
	if err != nil || !tried {
		t.Errorf("error is %v", err)
	}
}
