package provision

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// spendBed has a bottle that may launch three, with a budget on one of its routes.
func spendBed(t *testing.T) *bed {
	t.Helper()
	b, boss := bossBed(t)
	r, err := b.store.Read(boss.ID)
	if err != nil {
		t.Fatal(err)
	}
	b.remake(boss.ID, manifest.Bottle{
		Routes: []manifest.Route{
			{Host: "a.test", Budget: &sidecars.Budget{Requests: 10, BytesOut: 2, PerMinute: 6}}, {Host: "b.test"},
		},
		SubBottles: manifest.SubBottles{Max: 3}, Limits: r.Limits, Backend: r.Backend, Isolation: r.Isolation,
	}, time.Hour)
	return b
}

// spent is what the record of a bottle says.
func (b *bed) spent(id backend.ID) spending {
	b.t.Helper()
	r, err := b.store.Read(id)
	if err != nil {
		b.t.Fatal(err)
	}
	d, err := decodeDetail(r.Detail)
	if err != nil {
		b.t.Fatal(err)
	}
	return d.Spent
}

// launchSpending has the boss launch a bottle that may use so much.
func (b *bed) launchSpending(use sidecars.Budget) (*Bottle, error) {
	b.t.Helper()
	p, err := b.planAs(guest("boss"), LaunchRequest{Bottles: []string{"default"}})
	if err != nil {
		b.t.Fatal(err)
	}
	p.resolved.spends = spending{"a.test": use}
	return b.Launch(b.t.Context(), p, nil)
}

// TestBudgetsOfChildren: what a bottle's bottles may use adds up over its life, and
// their speed over those that live.
func TestBudgetsOfChildren(t *testing.T) {
	b := spendBed(t)
	first, err := b.launchSpending(sidecars.Budget{Requests: 4, BytesOut: 1, PerMinute: 4})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.launchSpending(sidecars.Budget{Requests: 1, BytesOut: 1, PerMinute: 3})
	wantBeyondIn(t, err, "per_minute of the route for a.test: 3 asked for, and 2 of the launching bottle's 6 are left")
	if _, err := b.Cleanup(t.Context(), CleanupRequest{IDs: []backend.ID{first.ID}, Principal: guest("boss")}, nil); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if _, err = b.launchSpending(sidecars.Budget{Requests: 6, BytesOut: 1, PerMinute: 3}); err != nil {
		t.Errorf("speed is not given back: %v", err)
	}
	_, err = b.launchSpending(sidecars.Budget{Requests: 1, PerMinute: 1})
	wantBeyondIn(t, err, "requests of the route for a.test: 1 asked for, and 0 of the launching bottle's 10 are left")
	if got, want := b.spent("boss"), (spending{"a.test": {Requests: 10, BytesOut: 2, PerMinute: 7}}); !reflect.DeepEqual(got, want) {
		t.Errorf("spent are %+v, want %+v", got, want)
	}
	if _, err := b.launchSpending(sidecars.Budget{}); err != nil {
		t.Errorf("a bottle that uses none: %v", err)
	}
}

func wantBeyondIn(t *testing.T, err error, part string) {
	t.Helper()
	var beyond *BeyondError
	if !errors.As(err, &beyond) {
		t.Fatalf("error is %v", err)
	}
	wantBeyond(t, beyond, "budget", part)
}

// TestBudgetGivenBack: a launch that fails has used nothing.
func TestBudgetGivenBack(t *testing.T) {
	for _, method := range []string{"StartSidecar", "StartAgent", "Exec"} {
		t.Run(method, func(t *testing.T) {
			b := spendBed(t)
			b.fake.fail[method] = errors.New("engine is upset")
			for range 4 {
				if _, err := b.launchSpending(sidecars.Budget{Requests: 9}); err == nil {
					t.Fatal("the launch did not fail")
				}
			}
			if got := b.spent("boss"); got["a.test"] != (sidecars.Budget{}) {
				t.Errorf("spent are %+v", got)
			}
			b.fake.fail["Remove"] = errors.New("engine is upset")
			if _, err := b.launchSpending(sidecars.Budget{Requests: 9}); err == nil {
				t.Fatal("the launch did not fail")
			}
			if got := b.spent("boss"); got["a.test"].Requests != 9 {
				t.Errorf("what may still run is given back: %+v", got)
			}
		})
	}
}

func TestShareBudgets(t *testing.T) {
	routes := []manifest.Route{{Host: "a.test", Budget: &sidecars.Budget{Requests: 10, BytesOut: 2, PerMinute: 7}}, {Host: "b.test"}}
	got := shareBudgets(routes, 3)
	if want := (sidecars.Budget{Requests: 3, BytesOut: 1, PerMinute: 2}); *got[0].Budget != want || got[1].Budget != nil {
		t.Errorf("shares are %+v", got)
	}
	if routes[0].Budget.Requests != 10 {
		t.Error("the whole was changed")
	}
}

// TestInheritedBudgets follows a manifest's budget to the bottles of its bottle.
func TestInheritedBudgets(t *testing.T) {
	b := newBed(t)
	b.bottleFile("boss", "egress: {routes: [{host: a.example.com, budget: {requests: 10}}]}\nsub_bottles: {max: 3}")
	b.bottleFile("greedy", "egress: {routes: [{host: a.example.com, budget: {requests: 11}}]}")
	b.bottleFile("boundless", "egress: {routes: [{host: a.example.com}]}")
	b.launch(LaunchRequest{ID: "boss", Bottles: []string{"boss"}})
	for _, name := range []string{"greedy", "boundless"} {
		_, err := b.planAs(guest("boss"), LaunchRequest{Bottles: []string{name}})
		wantBeyond(t, err, "egress", "at most 10 requests")
	}
	for range 3 {
		c := b.launchAs(guest("boss"), LaunchRequest{})
		if routes := b.fake.bottles[c.ID].sidecar.Config.Routes; routes[0].Budget.Requests != 3 {
			t.Errorf("routes are %+v", routes)
		}
		if _, err := b.Cleanup(t.Context(), CleanupRequest{All: true, Principal: guest("boss")}, nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.planAs(guest("boss"), LaunchRequest{})
	wantBeyond(t, err, "budget", "3 asked for, and 1 of the launching bottle's 10 are left")
	b.launchAs(guest("boss"), LaunchRequest{OnlyHosts: []string{}})
}
