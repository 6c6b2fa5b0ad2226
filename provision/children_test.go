package provision

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// bossBottle may launch three bottles, and each of them more.
const bossBottle = `
env: {PLAIN: text, COPIED: "${FROM_HOST}", TICKET: "? which ticket"}
egress:
  routes:
    - {host: a.example.com, auth: {scheme: Bearer, token_ref: TOKEN}, matches: [{methods: [GET, POST], paths: [{type: prefix, value: /v1}]}]}
    - {host: b.example.com, auth: {scheme: token, token_ref: OTHER}, ports: [8443]}
    - {host: "*.d.example.com", private: [10.0.0.0/8]}
ttl: 1h
resources: {pids: 900, memory: 3GiB, disk: 3GiB, cpus: 3}
sub_bottles: {max: 3, depth: 2}`

// bossBed has a bottle that runs and may launch others. What it may reach was
// narrowed at its launch.
func bossBed(t *testing.T) (*bed, *Bottle) {
	t.Helper()
	b, _ := fullBed(t)
	b.bottleFile("boss", bossBottle)
	return b, b.launch(LaunchRequest{ID: "boss", Bottles: []string{"boss"}, OnlyHosts: []string{"a.example.com", "*.d.example.com"}, Env: map[string]string{"TICKET": "the-answer"}})
}

func guest(id backend.ID) Principal { return Principal{Kind: Guest, Bottle: string(id)} }

func (b *bed) planAs(who Principal, req LaunchRequest) (*Plan, error) {
	req.Principal = who
	return b.Plan(b.t.Context(), req)
}

// launchAs has a bottle launch another one.
func (b *bed) launchAs(who Principal, req LaunchRequest) *Bottle {
	b.t.Helper()
	p, err := b.planAs(who, req)
	if err != nil {
		b.t.Fatal(err)
	}
	live, err := b.Launch(b.t.Context(), p, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return live
}

// restart is what a server does that is started again.
func (b *bed) restart() { b.Manager = b.manager(openStore(b.t, b.store.Path())) }

func wantBeyond(t *testing.T, err error, what, part string) {
	t.Helper()
	for _, p := range flatten(err) {
		var beyond *BeyondError
		if errors.As(p, &beyond) && beyond.What == what && strings.Contains(beyond.Error(), part) {
			return
		}
	}
	t.Errorf("error %v holds nothing beyond %q that says %q", err, what, part)
}

// TestFamily is the life of a bottle that launches bottles, with the server started
// again in between.
func TestFamily(t *testing.T) {
	b, boss := bossBed(t)
	var children []*Bottle
	for i := range 3 {
		children = append(children, b.launchAs(guest(boss.ID), LaunchRequest{ID: backend.ID(fmt.Sprint("worker-", i))}))
		b.restart()
	}
	for _, c := range children {
		want := backend.Limits{CPUs: 1, MemoryBytes: 1 << 30, DiskBytes: 1 << 30, PIDs: 300}
		if c.Limits != want || c.Expires.After(boss.Expires) || c.Isolation != boss.Isolation || c.Parent != boss.ID || !slices.Equal(c.Bottles, boss.Bottles) {
			t.Errorf("child is %+v", c)
		}
		if !reflect.DeepEqual(b.fake.bottles[c.ID].sidecar.Config.Routes, b.fake.bottles[boss.ID].sidecar.Config.Routes) || c.Policy != boss.Policy {
			t.Errorf("the child's routes are %+v", b.fake.bottles[c.ID].sidecar.Config.Routes)
		}
		env := b.fake.bottles[c.ID].agent.Env
		if !slices.Contains(env, "PLAIN=text") || !slices.Contains(env, "COPIED=from the host") || slices.ContainsFunc(env, func(v string) bool { return strings.Contains(v, "the-answer") }) {
			t.Errorf("the child's environment is %q", env)
		}
		if svc := b.fake.bottles[c.ID].sidecar.Services; !slices.Equal(svc, []sidecars.Service{sidecars.Egress, sidecars.Bottles}) {
			t.Errorf("the child's services are %v", svc)
		}
	}
	_, err := b.planAs(guest(boss.ID), LaunchRequest{})
	wantBeyond(t, err, "sub_bottles", "3 of the 3 bottles that bottle boss may have")

	grandchild := b.launchAs(guest(children[0].ID), LaunchRequest{Label: "grandchild", OnlyHosts: []string{"x.d.example.com"}})
	if grandchild.Limits.PIDs != 100 || len(grandchild.Routes) != 1 || slices.Contains(b.fake.bottles[grandchild.ID].sidecar.Services, sidecars.Bottles) {
		t.Errorf("grandchild is %+v", grandchild)
	}
	b.restart()
	_, err = b.planAs(guest(grandchild.ID), LaunchRequest{})
	wantInvalid(t, err, "sub_bottles", "may launch none")
	for _, dir := range []string{b.store.Path()} {
		for _, text := range []string{"the-answer", secretToken} {
			if found := grep(t, dir, text); len(found) > 0 {
				t.Errorf("%q is in %v", text, found)
			}
		}
	}

	b.fake.called()
	var removed []string
	items, err := b.Cleanup(t.Context(), CleanupRequest{IDs: []backend.ID{boss.ID}, Principal: operator}, func(e Event) {
		if e.Done {
			removed = append(removed, e.Detail)
		}
	})
	if err != nil || len(items) != 5 {
		t.Fatalf("items are %+v, %v", items, err)
	}
	for _, item := range items {
		if !item.Done || item.Action != actionRemove {
			t.Errorf("item is %+v", item)
		}
	}
	if removed[0] != string(grandchild.ID) || removed[4] != "boss" {
		t.Errorf("removed in the order %v", removed)
	}
	b.nothingLeft()
}

// TestChildRefused has a bottle ask for what it must not have, and a bottle that
// the operator named for it, which has it.
func TestChildRefused(t *testing.T) {
	files := map[string]string{
		"wider":     "egress: {routes: [{host: a.example.com, auth: {scheme: Bearer, token_ref: TOKEN}}]}",
		"elsewhere": "egress: {routes: [{host: e.example.com}]}",
		"narrowed":  "egress: {routes: [{host: b.example.com, auth: {scheme: token, token_ref: OTHER}, ports: [8443]}]}",
		"stranger":  "egress: {routes: [{host: a.example.com, auth: {scheme: Bearer, token_ref: OTHER}, matches: [{methods: [GET], paths: [{type: exact, value: /v1}]}]}]}",
		"bare":      "egress: {routes: [{host: a.example.com, matches: [{methods: [GET], paths: [{type: exact, value: /v1}]}]}]}",
		"env":       `env: {SOME: "${OTHER_HOST}"}`,
		"text":      "env: {PLAIN: another text}",
		"hungry":    "resources: {memory: 4GiB}",
		"half":      "resources: {pids: 700}",
		"published": "publish: [80]",
		"other":     "backend: macos-container",
		"repos":     "git-gate: {repos: {code: {url: \"ssh://git@example.com/code.git\", identity: /k}}}",
		"within":    "egress: {routes: [{host: a.example.com, auth: {scheme: Bearer, token_ref: TOKEN}, matches: [{methods: [GET], paths: [{type: prefix, value: /v1/x}]}]}]}\nenv: {MINE: \"${FROM_HOST}\", PLAIN: text}\nttl: 5h\nsub_bottles: {max: 9, depth: 8}",
	}
	tests := []struct {
		name   string
		req    LaunchRequest
		beyond string // of a *BeyondError
		field  string // else of an *InvalidError
		want   string
	}{
		{"any path", LaunchRequest{Bottles: []string{"wider"}}, "egress", "", "every request"},
		{"another host", LaunchRequest{Bottles: []string{"elsewhere"}}, "egress", "", "no route there allows this host"},
		{"what was narrowed away", LaunchRequest{Bottles: []string{"narrowed"}}, "egress", "", "no route there allows this host"},
		{"narrowed away, asked for", LaunchRequest{OnlyHosts: []string{"b.example.com"}}, "", "only_hosts", "can only narrow"},
		{"another token", LaunchRequest{Bottles: []string{"stranger"}}, "egress", "", "another credential"},
		{"no token", LaunchRequest{Bottles: []string{"bare"}}, "egress", "", "without the parent's credential"},
		{"another host variable", LaunchRequest{Bottles: []string{"env"}}, "env", "", "OTHER_HOST"},
		{"another text", LaunchRequest{Bottles: []string{"text"}}, "env", "", "PLAIN"},
		{"more memory", LaunchRequest{Bottles: []string{"hungry"}}, "limits", "", "memory_bytes"},
		{"more memory, asked for", LaunchRequest{Limits: backend.Limits{MemoryBytes: 4 << 30}}, "", "limits.memory_bytes", "more than"},
		{"more than is left", LaunchRequest{Bottles: []string{"half"}}, "limits", "", "700 asked for, and 600 of bottle boss's 900 are left"},
		{"more than is left, asked for", LaunchRequest{Limits: backend.Limits{PIDs: 601}}, "limits", "", "pids"},
		{"longer", LaunchRequest{TTL: 2 * time.Hour}, "", "ttl", "the launching bottle has left"},
		{"another backend", LaunchRequest{Backend: "macos-container"}, "", "backend", `runs on "linux"`},
		{"another backend, by a manifest", LaunchRequest{Bottles: []string{"other"}}, "", "backend of the manifest", `runs on "linux"`},
		{"no such bottle", LaunchRequest{Bottles: []string{"nobody"}}, "", "manifests", "does not exist or cannot be used"},
		{"broken bottle", LaunchRequest{Bottles: []string{"broken"}}, "", "manifests", "does not exist or cannot be used"},
		{"no such agent", LaunchRequest{Agent: "nobody"}, "", "manifests", "does not exist or cannot be used"},
		{"variable of the manifest", LaunchRequest{Env: map[string]string{"PLAIN": "x"}}, "", "env PLAIN", "manifest sets"},
		{"workspace above", LaunchRequest{Workspace: "../x"}, "", "workspace", "without '..'"},
	}
	b, boss := bossBed(t)
	b.setenv("OTHER_HOST", "x")
	b.bottleFile("broken", "egres: {}")
	for name, front := range files {
		b.bottleFile(name, front)
	}
	b.launchAs(guest(boss.ID), LaunchRequest{Label: "first"})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b.fake.caps.Services = append(b.fake.caps.Services, sidecars.GitGate)
			_, err := b.planAs(guest(boss.ID), tt.req)
			var plan *PlanError
			if !errors.As(err, &plan) {
				t.Fatalf("error is %v", err)
			}
			if tt.beyond != "" {
				wantBeyond(t, err, tt.beyond, tt.want)
			} else {
				wantInvalid(t, err, tt.field, tt.want)
			}
			if strings.Contains(err.Error(), b.home) || strings.Contains(err.Error(), "known bottles") {
				t.Errorf("the error tells of this host: %v", err)
			}
		})
	}
	t.Run("repositories", func(t *testing.T) {
		_, err := b.planAs(guest(boss.ID), LaunchRequest{Bottles: []string{"repos"}})
		wantBeyond(t, err, "repositories", `"code"`)
	})
	t.Run("within", func(t *testing.T) {
		p, err := b.planAs(guest(boss.ID), LaunchRequest{Bottles: []string{"within"}})
		if err != nil {
			t.Fatal(err)
		}
		if p.resolved.subBottles != (manifest.SubBottles{Max: 3, Depth: 1}) || p.TTL > time.Hour || p.Limits.PIDs != 300 {
			t.Errorf("plan is %+v, %+v", p, p.resolved.subBottles)
		}
	})
}

// TestChildIDs: what a bottle chooses never meets, or tells of, what is somebody
// else's.
func TestChildIDs(t *testing.T) {
	b, boss := bossBed(t)
	other := b.launch(LaunchRequest{ID: "other", Bottles: []string{"boss"}, Env: map[string]string{"TICKET": "x"}})
	mine := b.launchAs(guest(boss.ID), LaunchRequest{ID: "other"})
	theirs := b.launchAs(guest(other.ID), LaunchRequest{ID: "other"})
	if mine.ID == theirs.ID || mine.ID == other.ID || !strings.HasPrefix(string(mine.ID), "other-") {
		t.Errorf("ids are %s, %s, %s", mine.ID, theirs.ID, other.ID)
	}
	changed, err := b.planAs(guest(boss.ID), LaunchRequest{ID: "other", OnlyHosts: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	_, own := b.Launch(t.Context(), changed, nil)
	// The astronomical case: a foreign bottle that has the id by chance.
	changed.ID = theirs.ID
	_, foreign := b.Launch(t.Context(), changed, nil)
	if !errors.Is(own, backend.ErrExists) || foreign == nil || strings.ReplaceAll(foreign.Error(), string(theirs.ID), string(mine.ID)) != own.Error() {
		t.Errorf("one's own says %v, somebody else's %v", own, foreign)
	}
	again := b.launchAs(guest(boss.ID), LaunchRequest{ID: "other"})
	if again.ID != mine.ID || !again.AlreadyRan {
		t.Errorf("again it is %+v", again)
	}
	long := backend.ID(strings.Repeat("x", 40))
	if c := b.launchAs(guest(boss.ID), LaunchRequest{ID: long}); c.ID.Validate() != nil || len(c.ID) != 40 {
		t.Errorf("id is %s", c.ID)
	}
	// A repeated launch is known also when less of the parent's life is left, and
	// when the parent can have no more bottles.
	b.launchAs(guest(boss.ID), LaunchRequest{})
	if again = b.launchAs(guest(boss.ID), LaunchRequest{ID: "other"}); !again.AlreadyRan {
		t.Error("a launch that is repeated starts another one")
	}
}

// TestVisible tries every method of a manager as a bottle, on its own child and on
// what is not.
func TestVisible(t *testing.T) {
	b, boss := bossBed(t)
	b.fake.command = func(backend.Command, backend.Streams) backend.ExitStatus { return backend.ExitStatus{} }
	child := b.launchAs(guest(boss.ID), LaunchRequest{})
	grandchild := b.launchAs(guest(child.ID), LaunchRequest{})
	other := b.launch(LaunchRequest{ID: "other", Bottles: []string{"boss"}, Env: map[string]string{"TICKET": "x"}})
	nephew := b.launchAs(guest(other.ID), LaunchRequest{})
	stranger := b.launch(LaunchRequest{ID: "stranger"})
	put(t, b.fake.guest(boss.ID, backend.GuestWorkspace), "file", "x")
	put(t, b.fake.guest(child.ID, "/"), "x", "x")
	who, ctx := guest(boss.ID), t.Context()
	name, w, err := b.OutputFile(ctx, who, child.ID)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	targets := []struct {
		name string
		id   backend.ID
		seen bool
	}{
		{"child", child.ID, true}, {"grandchild", grandchild.ID, false}, {"itself", boss.ID, false}, {"sibling", other.ID, false},
		{"sibling's child", nephew.ID, false}, {"stranger", stranger.ID, false}, {"nothing", "nothing", false},
	}
	calls := map[string]func(id backend.ID) error{
		"Exec": func(id backend.ID) error {
			_, err := b.Exec(ctx, who, id, backend.Command{Argv: []string{"x"}}, backend.Streams{})
			return err
		},
		"CopyIn": func(id backend.ID) error {
			_, err := b.CopyIn(ctx, who, id, "file", "/tmp/", CopyOptions{})
			return err
		},
		"CopyOut":   func(id backend.ID) error { _, err := b.CopyOut(ctx, who, id, "/x", "y", CopyOptions{}); return err },
		"WriteFile": func(id backend.ID) error { _, err := b.WriteFile(ctx, who, id, "/y", nil, CopyOptions{}); return err },
		"ReadFile":  func(id backend.ID) error { _, _, err := b.ReadFile(ctx, who, id, "/x", 1); return err },
		"Get":       func(id backend.ID) error { _, err := b.Get(ctx, who, id); return err },
		"EgressLog": func(id backend.ID) error { _, err := b.EgressLog(ctx, who, id, 1); return err },
		"OutputFile": func(id backend.ID) error {
			_, w, err := b.OutputFile(ctx, who, id)
			if err == nil {
				err = w.Close()
			}
			return err
		},
		"OpenOutput": func(id backend.ID) error {
			r, err := b.OpenOutput(ctx, who, id, name)
			if err == nil {
				err = r.Close()
			}
			return err
		},
		"List": func(id backend.ID) error {
			list, err := b.List(ctx, who)
			if err == nil && !slices.ContainsFunc(list, func(l Bottle) bool { return l.ID == id }) {
				err = backend.ErrNotFound
			}
			return err
		},
		"Cleanup": func(id backend.ID) error {
			items, err := b.Cleanup(ctx, CleanupRequest{IDs: []backend.ID{id}, DryRun: true, Principal: who}, nil)
			if err == nil && items[0].Action == actionKeep && strings.Contains(items[0].Reason, "no such bottle") {
				err = backend.ErrNotFound
			}
			return err
		},
	}
	for _, target := range targets {
		for method, call := range calls {
			t.Run(method+" "+target.name, func(t *testing.T) {
				if err := call(target.id); target.seen != (err == nil) || !target.seen && !errors.Is(err, backend.ErrNotFound) {
					t.Errorf("error is %v", err)
				}
			})
		}
	}
	for _, req := range []CleanupRequest{{All: true}, {Orphans: true}, {IDs: []backend.ID{other.ID, stranger.ID, boss.ID, nephew.ID}}} {
		req.Principal = who
		if _, err := b.Cleanup(ctx, req, nil); err != nil {
			t.Fatal(err)
		}
	}
	left, err := b.List(ctx, operator)
	var ids []backend.ID
	for _, l := range left {
		ids = append(ids, l.ID)
	}
	if want := []backend.ID{boss.ID, other.ID, nephew.ID, stranger.ID}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("left are %v, want %v", ids, want)
	}
}

// TestLaterLife: a bottle of an id that was used before inherits nothing, not even
// a child that could not be removed.
func TestLaterLife(t *testing.T) {
	b, boss := bossBed(t)
	child := b.launchAs(guest(boss.ID), LaunchRequest{})
	lock, err := b.store.Lock(t.Context(), boss.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(lock.Remove(), b.fake.Remove(t.Context(), boss.ID)); err != nil {
		t.Fatal(err)
	}
	b.launch(LaunchRequest{ID: "boss", Bottles: []string{"boss"}, Env: map[string]string{"TICKET": "x"}})
	if list, err := b.List(t.Context(), guest("boss")); err != nil || len(list) != 0 {
		t.Errorf("the later bottle sees %v, %v", list, err)
	}
	if _, err := b.Get(t.Context(), guest("boss"), child.ID); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("the later bottle gets %v", err)
	}
	items, err := b.Reconcile(t.Context())
	if err != nil || len(items) != 1 || items[0].ID != child.ID || !items[0].Done {
		t.Errorf("reconciled %v, %v", items, err)
	}
}

// TestAbandoned: bottles whose parent has ended are removed at the next occasion,
// and no others.
func TestAbandoned(t *testing.T) {
	ends := map[string]func(b *bed, boss backend.ID){
		"died":     func(b *bed, boss backend.ID) { b.fake.set(boss, backend.Dead) },
		"expired":  func(b *bed, boss backend.ID) { b.fake.set(boss, backend.Expired) },
		"vanished": func(b *bed, boss backend.ID) { _ = b.fake.Remove(b.t.Context(), boss) },
		"record gone": func(b *bed, boss backend.ID) {
			_ = b.fake.Remove(b.t.Context(), boss)
			if err := os.RemoveAll(filepath.Join(b.store.BottlesDir(), string(boss))); err != nil {
				b.t.Fatal(err)
			}
		},
	}
	work := map[string]func(b *bed) ([]CleanupItem, error){
		"now and then": func(b *bed) ([]CleanupItem, error) { return b.EndAbandoned(b.t.Context()) },
		"reconcile":    func(b *bed) ([]CleanupItem, error) { return b.Reconcile(b.t.Context()) },
		"orphans": func(b *bed) ([]CleanupItem, error) {
			return b.Cleanup(b.t.Context(), CleanupRequest{Orphans: true, Principal: operator}, nil)
		},
	}
	for end, kill := range ends {
		for how, clean := range work {
			t.Run(end+" "+how, func(t *testing.T) {
				b, boss := bossBed(t)
				b.launch(LaunchRequest{ID: "stranger"})
				child := b.launchAs(guest(boss.ID), LaunchRequest{})
				grandchild := b.launchAs(guest(child.ID), LaunchRequest{})
				if items, err := clean(b); err != nil || len(items) != 0 {
					t.Fatalf("before the end: %+v, %v", items, err)
				}
				kill(b, boss.ID)
				if _, err := b.planAs(guest(child.ID), LaunchRequest{}); err != nil {
					t.Errorf("a child that lives still may launch until then: %v", err)
				}
				items, err := clean(b)
				if err != nil {
					t.Fatal(err)
				}
				for _, item := range items {
					if !item.Done {
						t.Errorf("item is %+v", item)
					}
				}
				for _, id := range []backend.ID{child.ID, grandchild.ID} {
					if b.fake.bottles[id] != nil {
						t.Errorf("%s lives", id)
					}
				}
				if b.fake.bottles["stranger"] == nil {
					t.Error("a stranger was removed")
				}
			})
		}
	}
	t.Run("no engine is asked without need", func(t *testing.T) {
		b, _ := bossBed(t)
		b.fake.called()
		if items, err := b.EndAbandoned(t.Context()); err != nil || len(items) != 0 || len(b.fake.called()) != 0 {
			t.Errorf("ended %+v, %v", items, err)
		}
	})
	t.Run("silent engine", func(t *testing.T) {
		b, boss := bossBed(t)
		b.launchAs(guest(boss.ID), LaunchRequest{})
		b.fake.fail["List"] = errors.New("no answer")
		if items, err := b.Reconcile(t.Context()); err != nil || len(items) != 0 {
			t.Errorf("reconciled %+v, %v", items, err)
		}
		if _, err := b.planAs(guest(boss.ID), LaunchRequest{}); err == nil || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("children that cannot be counted: %v", err)
		}
	})
}

// TestChildrenAtOnce has two servers launch more than there is room for.
func TestChildrenAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		limits backend.Limits
		want   int
	}{
		"count":  {backend.Limits{}, 3},
		"limits": {backend.Limits{PIDs: 450}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			b, boss := bossBed(t)
			managers := []*Manager{b.Manager, b.manager(openStore(t, b.store.Path()))}
			var mu sync.Mutex
			var wg sync.WaitGroup
			launched, refused := 0, 0
			var plans []*Plan
			for i := range 8 {
				p, err := managers[i%2].Plan(t.Context(), LaunchRequest{Principal: guest(boss.ID), Limits: tt.limits})
				if err != nil {
					t.Fatal(err)
				}
				plans = append(plans, p)
			}
			for i, p := range plans {
				wg.Go(func() {
					_, err := managers[i%2].Launch(t.Context(), p, nil)
					mu.Lock()
					defer mu.Unlock()
					var beyond *BeyondError
					switch {
					case err == nil:
						launched++
					case errors.As(err, &beyond):
						refused++
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if launched != tt.want || refused != 8-tt.want {
				t.Errorf("%d were launched and %d refused, want %d", launched, refused, tt.want)
			}
		})
	}
}

// TestParentGoesDuringLaunch removes the parent at each step of its child's launch.
func TestParentGoesDuringLaunch(t *testing.T) {
	for _, method := range []string{"StartSidecar", "StartAgent", "Exec", "CopyOut", "CopyIn"} {
		t.Run(method, func(t *testing.T) {
			b, boss := bossBed(t)
			put(t, b.fake.guest(boss.ID, backend.GuestWorkspace), "file", "x")
			p, err := b.planAs(guest(boss.ID), LaunchRequest{Workspace: "."})
			if err != nil {
				t.Fatal(err)
			}
			var once sync.Once
			var wg sync.WaitGroup
			var items []CleanupItem
			b.fake.before = func(called string) {
				if called != method {
					return
				}
				once.Do(func() {
					wg.Go(func() {
						items, _ = b.Cleanup(t.Context(), CleanupRequest{IDs: []backend.ID{boss.ID}, Principal: operator}, nil)
					})
					for range 1000 {
						if r, err := b.store.Read(boss.ID); err != nil || r.Phase == state.Removing {
							return
						}
						time.Sleep(time.Millisecond)
					}
					t.Error("the parent is not being removed")
				})
			}
			_, err = b.Launch(t.Context(), p, nil)
			wg.Wait()
			if err == nil {
				t.Error("a bottle without a parent was handed over")
			}
			for _, item := range items {
				if !item.Done {
					t.Errorf("item is %+v", item)
				}
			}
			b.nothingLeft()
		})
	}
}

// TestParentWithChildThatStays: what cannot be removed is told and found again, and
// holds up nobody.
func TestParentWithChildThatStays(t *testing.T) {
	b, boss := bossBed(t)
	child := b.launchAs(guest(boss.ID), LaunchRequest{})
	lock, err := b.store.Lock(t.Context(), child.ID)
	if err != nil {
		t.Fatal(err)
	}
	var p = removal{target: listed{Bottle: *child, recorded: true, phase: state.Ready}}
	if err := b.remove(t.Context(), p); !errors.Is(err, state.ErrBusy) {
		t.Errorf("error is %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	b.fake.fail["Remove"] = errors.New("engine is upset")
	items, err := b.Cleanup(t.Context(), CleanupRequest{IDs: []backend.ID{boss.ID}, Principal: operator}, nil)
	if err != nil || len(items) != 2 || items[0].Done || items[1].Done {
		t.Errorf("items are %+v, %v", items, err)
	}
	if _, err := b.planAs(guest(boss.ID), LaunchRequest{}); err == nil {
		t.Error("a bottle that is being removed may launch")
	}
	delete(b.fake.fail, "Remove")
	if _, err := b.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.nothingLeft()
}

// TestInheritanceFormats: what a record says is taken as it is meant, or not at
// all.
func TestInheritanceFormats(t *testing.T) {
	change := func(from, to string) func(t *testing.T, r *state.Record) {
		return func(t *testing.T, r *state.Record) {
			t.Helper()
			text := strings.Replace(string(r.Detail), from, to, 1)
			if text == string(r.Detail) {
				t.Fatalf("%q is not in the record", from)
			}
			r.Detail = json.RawMessage(text)
		}
	}
	tests := map[string]struct {
		change func(t *testing.T, r *state.Record)
		want   string
	}{
		"newer":        {change(`"inheritance":{"version":1`, `"inheritance":{"version":2`), "has format 2 and this version reads format 1"},
		"older":        {change(`"inheritance":{"version":1`, `"inheritance":{"version":0`), "has format 0"},
		"unknown key":  {change(`"SubBottles":{`, `"MoreBottles":1,"SubBottles":{`), "unknown field"},
		"no JSON":      {change(`"inheritance":{"version":1`, `"inheritance":{"version":"x"`), "cannot be read"},
		"other limits": {func(_ *testing.T, r *state.Record) { r.Limits.PIDs++ }, "contradicts its record"},
		"other class":  {func(_ *testing.T, r *state.Record) { r.Isolation = "gvisor" }, "contradicts its record"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, boss := bossBed(t)
			lock, err := b.store.Lock(t.Context(), boss.ID)
			if err != nil {
				t.Fatal(err)
			}
			r, err := b.store.Read(boss.ID)
			if err != nil {
				t.Fatal(err)
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, r.Detail); err != nil {
				t.Fatal(err)
			}
			r.Detail = compact.Bytes()
			tt.change(t, &r)
			if err := errors.Join(lock.Write(r), lock.Unlock()); err != nil {
				t.Fatal(err)
			}
			if _, err := b.planAs(guest(boss.ID), LaunchRequest{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
