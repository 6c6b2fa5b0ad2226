package provision

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// reloads makes the policy of a bottle anew.
func (b *bed) reloads(id backend.ID) *Reloaded {
	b.t.Helper()
	out, err := b.Reload(b.t.Context(), ReloadRequest{ID: id, Principal: operator})
	if err != nil {
		b.t.Fatalf("Reload: %v", err)
	}
	return out
}

// inForce are the hosts that a bottle's sidecar allows, with their paths.
func (b *bed) inForce(id backend.ID) string {
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	var out []string
	for _, r := range b.fake.bottles[id].sidecar.Config.Routes {
		text := r.Host
		for _, m := range r.Matches {
			for _, p := range m.Paths {
				text += p.Value
			}
		}
		if r.Auth != nil {
			text += "=" + r.Auth.Slot
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func hostsOf(all []RouteSummary) string {
	var out []string
	for _, r := range all {
		out = append(out, r.Host)
	}
	return strings.Join(out, " ")
}

func TestReload(t *testing.T) {
	routes := func(lines ...string) string {
		return "egress:\n  routes:\n    - " + strings.Join(lines, "\n    - ")
	}
	a, x, wild := "host: a.test", "host: x.test", "host: '*.wild.test'"
	path := func(value string) string {
		return "{host: a.test, matches: [{paths: [{type: prefix, value: " + value + "}]}]}"
	}
	for _, tt := range []struct {
		name          string
		before, after string
		only          []string
		rules         []OnlyRule
		want          string // in force
		added         string
		removed       string
		changed       int
		dropped       string
	}{
		{name: "nothing changed", before: routes(a), after: routes(a), want: "a.test"},
		{name: "a host is added", before: routes(a), after: routes(a, x), want: "a.test x.test", added: "x.test"},
		{name: "a host is taken away", before: routes(a, x), after: routes(x), want: "x.test", removed: "a.test"},
		{name: "a route is narrowed", before: routes(a), after: routes(path("/p")), want: "a.test/p", changed: 1},
		{name: "everything is taken away", before: routes(a), after: "env: {}", want: "", removed: "a.test"},
		{name: "the launch had narrowed", before: routes(a), after: routes(a, x), only: []string{"a.test"}, want: "a.test"},
		{name: "to nothing", before: routes(a), after: routes(a, x), only: []string{}, want: ""},
		{name: "to a host that is gone", before: routes(a, x), after: routes(x), only: []string{"a.test"}, want: "", removed: "a.test", dropped: "a.test"},
		{name: "to one of two", before: routes(a, x), after: routes(x), only: []string{"a.test", "x.test"}, want: "x.test", removed: "a.test", dropped: "a.test"},
		{name: "to a path", before: routes(a), after: routes(a, x), rules: []OnlyRule{{Host: "a.test", Paths: []string{"/p"}}}, want: "a.test/p"},
		{name: "to a path that is gone", before: routes(a), after: routes(path("/q")), rules: []OnlyRule{{Host: "a.test", Paths: []string{"/p"}}}, want: "", removed: "a.test", dropped: "a.test"},
		{
			name: "a wildcard never takes over what it was narrowed within", before: routes(wild), only: []string{"*.wild.test", "s.wild.test"},
			rules: []OnlyRule{{Host: "s.wild.test", Methods: []string{"GET"}}},
			after: routes(wild, "{host: s.wild.test, matches: [{methods: [POST]}]}"), want: "", removed: "*.wild.test s.wild.test", dropped: "s.wild.test",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			b.bottleFile("box", tt.before)
			live := b.launch(LaunchRequest{Bottles: []string{"box"}, OnlyHosts: tt.only, Only: tt.rules})
			was := b.inForce(live.ID)
			b.bottleFile("box", tt.after)
			dry, err := b.Reload(t.Context(), ReloadRequest{ID: live.ID, DryRun: true, Principal: operator})
			if err != nil || dry.Applied || b.inForce(live.ID) != was {
				t.Fatalf("a dry run: %+v, %v, in force %q", dry, err, b.inForce(live.ID))
			}
			got := b.reloads(live.ID)
			if in := b.inForce(live.ID); in != tt.want {
				t.Errorf("in force %q, want %q", in, tt.want)
			}
			if !got.Applied || hostsOf(got.Added) != tt.added || hostsOf(got.Removed) != tt.removed || len(got.Changed) != tt.changed || strings.Join(got.Dropped, " ") != tt.dropped {
				t.Errorf("told %+v", got)
			}
			now, err := b.Get(t.Context(), operator, live.ID)
			if err != nil || now.Policy != got.Policy || len(now.Routes) != len(strings.Fields(tt.want)) {
				t.Errorf("the record says %q, %d routes, %v", now.Policy, len(now.Routes), err)
			}
			again := b.reloads(live.ID)
			if len(again.Added)+len(again.Removed)+len(again.Changed) > 0 || b.inForce(live.ID) != tt.want {
				t.Errorf("a second time: %+v", again)
			}
		})
	}
}

// Credentials keep their slots, whatever routes come and go, and none is in the
// record.
func TestReloadCredentials(t *testing.T) {
	b := newBed(t)
	with := func(hosts ...string) string {
		text := "egress:\n  routes:"
		for _, h := range hosts {
			text += "\n    - {host: " + strings.ToLower(h) + ".test, auth: {scheme: Bearer, token_ref: " + h + "_TOKEN}}"
		}
		return text
	}
	b.setenv("ONE_TOKEN", "first-credential")
	b.bottleFile("box", with("ONE"))
	live := b.launch(LaunchRequest{Bottles: []string{"box"}})
	given := func() map[string]string {
		b.fake.mu.Lock()
		defer b.fake.mu.Unlock()
		out := map[string]string{}
		for slot, v := range b.fake.bottles[live.ID].given.Tokens {
			out[slot] = v.Reveal()
		}
		return out
	}
	b.bottleFile("box", with("TWO", "ONE"))
	_, err := b.Reload(t.Context(), ReloadRequest{ID: live.ID, Principal: operator})
	if err == nil || !strings.Contains(err.Error(), "TWO_TOKEN") {
		t.Errorf("a new credential that is not set: %v", err)
	}
	if in := b.inForce(live.ID); in != "one.test=EGRESS_TOKEN_0" {
		t.Errorf("the refused reload changed the policy to %q", in)
	}
	b.setenv("TWO_TOKEN", "second-credential")
	b.setenv("ONE_TOKEN", "") // as in another shell than the launch's
	got := b.reloads(live.ID)
	if in := b.inForce(live.ID); in != "two.test=EGRESS_TOKEN_1 one.test=EGRESS_TOKEN_0" {
		t.Errorf("in force %q", in)
	}
	if !maps.Equal(given(), map[string]string{"EGRESS_TOKEN_1": "second-credential"}) || !slices.Equal(got.Credentials, []string{"$TWO_TOKEN"}) {
		t.Errorf("handed over %d, told %q", len(given()), got.Credentials)
	}
	b.setenv("ONE_TOKEN", "rotated-credential")
	b.bottleFile("box", with("ONE"))
	b.reloads(live.ID)
	if !maps.Equal(given(), map[string]string{"EGRESS_TOKEN_0": "rotated-credential"}) {
		t.Errorf("the rotated credential was not handed over: %d", len(given()))
	}
	for _, credential := range []string{"first-credential", "second-credential", "rotated-credential"} {
		if found := grep(t, b.store.Path(), credential); len(found) > 0 {
			t.Errorf("a credential is in %v", found)
		}
	}
}

func TestReloadRefuses(t *testing.T) {
	const before = "egress:\n  routes:\n    - host: a.test\n"
	for _, tt := range []struct {
		name string
		then func(b *bed, id backend.ID) ReloadRequest
		want string
	}{
		{"a guest", func(_ *bed, id backend.ID) ReloadRequest {
			return ReloadRequest{ID: id, Principal: Principal{Kind: Guest, Bottle: string(id)}}
		}, "only the operator"},
		{"nobody", func(_ *bed, id backend.ID) ReloadRequest { return ReloadRequest{ID: id} }, "only the operator"},
		{"a path", func(*bed, backend.ID) ReloadRequest { return ReloadRequest{ID: "../x", Principal: operator} }, "id"},
		{"another bottle", func(*bed, backend.ID) ReloadRequest { return ReloadRequest{ID: "unknown", Principal: operator} }, "unknown"},
		{"a bad manifest", func(b *bed, id backend.ID) ReloadRequest {
			b.bottleFile("box", "egress:\n  routes:\n    - host: '*'\n")
			return ReloadRequest{ID: id, Principal: operator}
		}, "host"},
		{"another provider", func(b *bed, id backend.ID) ReloadRequest {
			b.bottleFile("box", "agent_provider: {template: claude}")
			return ReloadRequest{ID: id, Principal: operator}
		}, "provider"},
		{"a sidecar that refuses", func(b *bed, id backend.ID) ReloadRequest {
			b.fake.fail["Reload"] = errors.New("the sidecar does not take it")
			b.bottleFile("box", before+"    - host: b.test\n")
			return ReloadRequest{ID: id, Principal: operator}
		}, "does not take it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			b.bottleFile("box", before)
			live := b.launch(LaunchRequest{Bottles: []string{"box"}})
			req := tt.then(b, live.ID)
			if _, err := b.Reload(t.Context(), req); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			now, err := b.Get(t.Context(), operator, live.ID)
			if err != nil || b.inForce(live.ID) != "a.test" || hostsOf(now.Routes) != "a.test" {
				t.Errorf("in force %q, the record says %q, %v", b.inForce(live.ID), hostsOf(now.Routes), err)
			}
		})
	}
}

// A bottle's bottles are proven against its policy: it does not change under
// them, and what they get after a change is the new one.
func TestReloadWithBottlesOfItsOwn(t *testing.T) {
	b := newBed(t)
	const front = "sub_bottles: {max: 2}\nresources: {memory: 1GiB, disk: 1GiB, pids: 256}\negress:\n  routes:\n    - host: a.test\n"
	b.bottleFile("box", front+"    - host: x.test\n")
	parent := b.launch(LaunchRequest{Bottles: []string{"box"}})
	guest := Principal{Kind: Guest, Bottle: string(parent.ID)}
	child := func() *Bottle {
		t.Helper()
		plan, err := b.Plan(t.Context(), LaunchRequest{Principal: guest})
		if err != nil {
			t.Fatal(err)
		}
		live, err := b.Launch(t.Context(), plan, nil)
		if err != nil {
			t.Fatal(err)
		}
		return live
	}
	one := child()
	if b.inForce(one.ID) != "a.test x.test" {
		t.Fatalf("the first child has %q", b.inForce(one.ID))
	}
	b.bottleFile("box", front)
	for id, want := range map[backend.ID]string{parent.ID: "clean up bottle " + string(one.ID), one.ID: "whose policy bounds it"} {
		if _, err := b.Reload(t.Context(), ReloadRequest{ID: id, Principal: operator}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	if _, err := b.Cleanup(t.Context(), CleanupRequest{IDs: []backend.ID{one.ID}, Principal: operator}, func(Event) {}); err != nil {
		t.Fatal(err)
	}
	b.reloads(parent.ID)
	if two := child(); b.inForce(two.ID) != "a.test" {
		t.Errorf("a child launched after the change has %q", b.inForce(two.ID))
	}
}

// A program that does not know what a policy was made from changes nothing.
func TestReloadOfAnOlderRecord(t *testing.T) {
	b := newBed(t)
	b.bottleFile("box", "egress:\n  routes:\n    - host: a.test\n")
	live := b.launch(LaunchRequest{Bottles: []string{"box"}})
	held, err := b.store.Lock(t.Context(), live.ID)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.store.Read(live.ID)
	if err != nil {
		t.Fatal(err)
	}
	d, err := decodeDetail(r.Detail)
	if err != nil || d.Source == nil {
		t.Fatalf("%v, %v", d.Source, err)
	}
	d.Source = nil
	if r.Detail, err = d.encode(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(held.Write(r), held.Unlock()); err != nil {
		t.Fatal(err)
	}
	_, err = b.Reload(t.Context(), ReloadRequest{ID: live.ID, Principal: operator})
	if err == nil || !strings.Contains(err.Error(), "launch it anew") {
		t.Errorf("error %v", err)
	}
}
