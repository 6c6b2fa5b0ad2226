package provision

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// plant writes a record as another server would have left it.
func (b *bed) plant(r state.Record) {
	b.t.Helper()
	r.Principal = "operator"
	if r.Created.IsZero() {
		r.Created = time.Now().UTC()
	}
	r.Backend = "linux"
	lock, err := b.store.Reserve(b.t.Context(), r)
	if err == nil {
		err = lock.Unlock()
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// gone names a server that does not run any more.
func gone() state.Process { return state.Process{PID: 1 << 30, Start: "long ago"} }

// zoo has bottles in every state there is.
func zoo(t *testing.T) *bed {
	t.Helper()
	b := newBed(t)
	for _, id := range []backend.ID{"running", "degraded", "dead", "expired", "vanished", "damaged"} {
		b.launch(LaunchRequest{ID: id})
	}
	b.fake.set("degraded", backend.Degraded)
	b.fake.set("dead", backend.Dead)
	b.fake.set("expired", backend.Expired)
	delete(b.fake.bottles, "vanished")
	put(t, b.store.BottlesDir(), "damaged/metadata.json", "{")
	b.plant(state.Record{ID: "starting", Phase: state.Launching, Launcher: state.Self()})
	b.plant(state.Record{ID: "halfway", Phase: state.Launching, Launcher: gone()})
	b.plant(state.Record{ID: "leaving", Phase: state.Removing, Launcher: state.Self()})
	for _, id := range []backend.ID{"halfway", "unknown"} {
		if _, err := b.fake.StartSidecar(t.Context(), backend.SidecarSpec{ID: id, Owner: b.store.Owner()}); err != nil {
			t.Fatal(err)
		}
	}
	b.fake.set("unknown", backend.Dead)
	if _, err := b.fake.StartSidecar(t.Context(), backend.SidecarSpec{ID: "not-ours", Owner: "somebody else"}); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestListTellsTheTruth(t *testing.T) {
	b := zoo(t)
	list, err := b.List(t.Context(), operator)
	if err != nil {
		t.Fatal(err)
	}
	got := map[backend.ID]backend.State{}
	problems := map[backend.ID]string{}
	for _, l := range list {
		got[l.ID], problems[l.ID] = l.State, l.Problem
		if l.Bottles == nil && l.Backend == "" {
			t.Errorf("%s is %+v", l.ID, l)
		}
	}
	want := map[backend.ID]backend.State{
		"running": backend.Running, "degraded": backend.Degraded, "dead": backend.Dead, "expired": backend.Expired, "vanished": backend.Dead,
		"damaged": backend.Running, "starting": backend.Starting, "halfway": backend.Dead, "leaving": backend.Dead, "unknown": backend.Dead,
	}
	if len(got) != len(want) {
		t.Errorf("listed are %v", got)
	}
	for id, state := range want {
		if got[id] != state {
			t.Errorf("%s is %s, want %s", id, got[id], state)
		}
	}
	if !strings.Contains(problems["damaged"], "cannot be read") || !strings.Contains(problems["unknown"], "no record") || problems["running"] != "" {
		t.Errorf("problems are %q", problems)
	}
	if !slices.IsSortedFunc(list, func(a, b Bottle) int { return a.Created.Compare(b.Created) }) {
		t.Error("the list is not sorted by age")
	}
}

func TestListEngineSilent(t *testing.T) {
	b, id := liveBed(t)
	b.fake.fail["List"] = errors.New("engine is upset")
	list, err := b.List(t.Context(), operator)
	if err != nil || len(list) != 1 || list[0].ID != id || !strings.Contains(list[0].Problem, "engine is upset") {
		t.Errorf("list is %+v, %v", list, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var logged bytes.Buffer
	b.log = slog.New(slog.NewTextHandler(&logged, nil))
	if _, err := b.List(t.Context(), operator); err != nil || !strings.Contains(logged.String(), "engine is upset") {
		t.Errorf("%v; an engine that fails is not logged: %q", err, &logged)
	}
	logged.Reset()
	if _, err := b.List(ctx, operator); !errors.Is(err, context.Canceled) || logged.Len() > 0 {
		t.Errorf("cancelled: %v; logged %q", err, &logged)
	}
}

// ids gives the ids of items with an action, sorted.
func ids(items []CleanupItem, action string) []string {
	var out []string
	for _, item := range items {
		if item.Action == action {
			out = append(out, string(item.ID))
		}
	}
	slices.Sort(out)
	return out
}

func TestCleanupPlans(t *testing.T) {
	orphans := []string{"dead", "expired", "halfway", "leaving", "unknown", "vanished"}
	everything := []string{"damaged", "dead", "degraded", "expired", "halfway", "leaving", "running", "starting", "unknown", "vanished"}
	tests := []struct {
		name         string
		req          CleanupRequest
		remove, keep []string
	}{
		{"orphans", CleanupRequest{Orphans: true}, orphans, nil},
		{"all", CleanupRequest{All: true}, everything, nil},
		{"ids", CleanupRequest{IDs: []backend.ID{"running", "absent", "not-ours"}}, []string{"running"}, []string{"absent", "not-ours"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := zoo(t)
			tt.req.Principal, tt.req.DryRun = operator, true
			b.fake.called()
			items, err := b.Cleanup(t.Context(), tt.req, nil)
			if err != nil || !slices.Equal(ids(items, actionRemove), tt.remove) || !slices.Equal(ids(items, actionKeep), tt.keep) {
				t.Errorf("plan is %+v, %v", items, err)
			}
			if calls := b.fake.called(); slices.Contains(calls, "Remove") {
				t.Errorf("a dry run calls %v", calls)
			}
			for _, item := range items {
				if item.Action == actionRemove && item.Done {
					t.Errorf("a dry run did %+v", item)
				}
			}
		})
	}
}

func TestCleanup(t *testing.T) {
	b := zoo(t)
	var events []Event
	items, err := b.Cleanup(t.Context(), CleanupRequest{Orphans: true, Principal: operator}, func(e Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		if !item.Done || item.Reason != "" {
			t.Errorf("item is %+v", item)
		}
	}
	if len(events) != 2*len(items) {
		t.Errorf("events are %+v", events)
	}
	list, err := b.List(t.Context(), operator)
	if err != nil || len(list) != 4 {
		t.Errorf("left are %+v, %v", list, err)
	}
	for range 2 { // again is no error
		items, err = b.Cleanup(t.Context(), CleanupRequest{IDs: []backend.ID{"running", "degraded", "damaged", "starting"}, Principal: operator}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			if !item.Done {
				t.Errorf("item is %+v", item)
			}
		}
	}
	if b.fake.bottles["not-ours"] == nil {
		t.Error("another owner's bottle was removed")
	}
	delete(b.fake.bottles, "not-ours")
	b.nothingLeft()
}

func TestCleanupRequests(t *testing.T) {
	b := newBed(t)
	for _, req := range []CleanupRequest{
		{}, {All: true, Orphans: true}, {All: true, IDs: []backend.ID{"x"}}, {IDs: []backend.ID{"../x"}}, {IDs: []backend.ID{"-rf"}},
	} {
		req.Principal = operator
		var invalid *InvalidError
		if items, err := b.Cleanup(t.Context(), req, nil); !errors.As(err, &invalid) {
			t.Errorf("%+v gives %v, %v", req, items, err)
		}
	}
}

func TestCleanupForeign(t *testing.T) {
	b, id := liveBed(t)
	path := filepath.Join(b.store.BottlesDir(), string(id), "metadata.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, b.store.BottlesDir(), string(id)+"/metadata.json", strings.ReplaceAll(string(data), b.store.Owner(), strings.Repeat("0", 32)))
	items, err := b.Cleanup(t.Context(), CleanupRequest{All: true, Principal: operator}, nil)
	if err != nil || len(items) != 1 || items[0].Action != actionKeep || b.fake.bottles[id] == nil {
		t.Errorf("items are %+v, %v", items, err)
	}
}

func TestPreserve(t *testing.T) {
	b, id := liveBed(t)
	b.appendLog(id, jsonLine(t, deny(id, "h")))
	put(t, b.store.BottlesDir(), string(id)+"/.preserve", "")
	b.fake.before = func(method string) {
		if method == "Remove" { // as an engine does with its own files
			_ = os.Remove(filepath.Join(b.store.BottlesDir(), string(id), state.EgressLog))
		}
	}
	all := CleanupRequest{All: true, Principal: operator}
	items, err := b.Cleanup(t.Context(), all, nil)
	if err != nil || len(items) != 1 || !items[0].Done || !strings.Contains(items[0].Reason, "directory is kept") || b.fake.bottles[id] != nil {
		t.Fatalf("items are %+v, %v", items, err)
	}
	if log, err := b.EgressLog(t.Context(), operator, id, 5); err != nil || len(log) != 1 {
		t.Errorf("the log is lost: %v, %v", log, err)
	}
	for range 2 {
		items, err = b.Cleanup(t.Context(), all, nil)
		if err != nil || len(items) != 1 || items[0].Action != actionKeep || !strings.Contains(items[0].Reason, ".preserve") {
			t.Errorf("items are %+v, %v", items, err)
		}
	}
	if err := os.Remove(filepath.Join(b.store.BottlesDir(), string(id), ".preserve")); err != nil {
		t.Fatal(err)
	}
	if _, err = b.Cleanup(t.Context(), all, nil); err != nil {
		t.Error(err)
	}
	b.nothingLeft()
}

// TestCleanupFails: a removal that fails is told, and done by the next one.
func TestCleanupFails(t *testing.T) {
	b, id := liveBed(t)
	b.fake.fail["Remove"] = errors.New("engine is upset")
	all := CleanupRequest{All: true, Principal: operator}
	items, err := b.Cleanup(t.Context(), all, nil)
	if err != nil || items[0].Done || !strings.Contains(items[0].Reason, "engine is upset") {
		t.Errorf("items are %+v, %v", items, err)
	}
	if _, err := b.Exec(t.Context(), operator, id, backend.Command{Argv: []string{"x"}}, backend.Streams{}); !errors.Is(err, backend.ErrNotRunning) {
		t.Errorf("a half-removed bottle is usable: %v", err)
	}
	delete(b.fake.fail, "Remove")
	if items, err = b.Cleanup(t.Context(), CleanupRequest{Orphans: true, Principal: operator}, nil); err != nil || len(items) != 1 || !items[0].Done {
		t.Errorf("items are %+v, %v", items, err)
	}
	b.nothingLeft()
}

// TestCleanupDuringLaunch: what is being launched is not pulled away.
func TestCleanupDuringLaunch(t *testing.T) {
	b := newBed(t)
	p := b.plan(LaunchRequest{ID: "x"})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := b.Launch(t.Context(), p, func(e Event) {
		if e.Step == "self-test" && !e.Done {
			items, err := b.Cleanup(ctx, CleanupRequest{All: true, Principal: operator}, nil)
			if !errors.Is(err, context.DeadlineExceeded) || len(items) != 1 || items[0].Done {
				t.Errorf("items are %+v, %v", items, err)
			}
			if items, err := b.Reconcile(t.Context()); err != nil || len(items) != 0 {
				t.Errorf("reconcile: %+v, %v", items, err)
			}
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTwoServers launch, list and remove in one state at once.
func TestTwoServers(t *testing.T) {
	b := newBed(t)
	other := b.manager(openStore(t, b.store.Path()))
	var wg sync.WaitGroup
	for i := range 12 {
		m := []*Manager{b.Manager, other}[i%2]
		wg.Go(func() {
			p, err := m.Plan(t.Context(), LaunchRequest{Principal: operator, Label: "job"})
			if err != nil {
				t.Error(err)
				return
			}
			live, err := m.Launch(t.Context(), p, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := other.Get(t.Context(), operator, live.ID); err != nil {
				t.Errorf("the other server does not see it: %v", err)
			}
			if _, err := m.Reconcile(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if list, err := other.List(t.Context(), operator); err != nil || len(list) != 12 {
		t.Fatalf("%d bottles, %v", len(list), err)
	}
	for _, m := range []*Manager{b.Manager, other, b.Manager} {
		wg.Go(func() {
			items, err := m.Cleanup(t.Context(), CleanupRequest{All: true, Principal: operator}, nil)
			if err != nil {
				t.Error(err)
			}
			for _, item := range items {
				if !item.Done {
					t.Errorf("item is %+v", item)
				}
			}
		})
	}
	wg.Wait()
	b.nothingLeft()
}

func TestReconcile(t *testing.T) {
	b := zoo(t)
	if err := os.Mkdir(filepath.Join(b.store.BottlesDir(), "nothing-written"), 0o700); err != nil {
		t.Fatal(err)
	}
	items, err := b.Reconcile(t.Context())
	if err != nil || !slices.Equal(ids(items, actionRemove), []string{"halfway", "leaving", "nothing-written"}) {
		t.Errorf("items are %+v, %v", items, err)
	}
	for _, item := range items {
		if !item.Done {
			t.Errorf("item is %+v", item)
		}
	}
	if items, err = b.Reconcile(t.Context()); err != nil || len(items) != 0 {
		t.Errorf("again: %+v, %v", items, err)
	}
	for _, id := range []backend.ID{"running", "degraded", "dead", "starting"} {
		if _, err := b.store.Read(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}
