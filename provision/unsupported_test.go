package provision

import (
	"errors"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// TestUnsupported has a launch refused for each thing that nothing enforces yet,
// where the same file is loaded without a word.
func TestUnsupported(t *testing.T) {
	const route = "egress:\n  routes:\n    - host: a.example.com\n"
	tests := []struct{ name, bottle, want string }{
		{"outbound detectors", route + "      dlp: {outbound_detectors: [token_patterns]}", ""},
		{"inbound detectors", route + "      dlp: {inbound_detectors: [naive_injection_detection]}", ""},
		{"on a match", route + "      dlp: {outbound_on_match: block}", ""},
		{"budget", route + "      budget: {requests: 1}", ""},
		{"response", route + "      response: {max_bytes: 1KiB}", ""},
		{"no detectors", route + "      dlp: {outbound_detectors: false, inbound_detectors: false}", ""},
		{"default detectors", route + "      dlp: {}", ""},
		{"supervise", "supervise: true", ":2: supervise: it is not supported yet by this version (a way for the agent to ask for more)"},
		{"no supervise", "supervise: false", ""},
		{"identity", "\ngit-gate: {user: {name: A}}", ""},
		{"template", "agent_provider: {template: generic}", ""},
		{"no host login", "agent_provider: {forward_host_credentials: false}", ""},
		{"sub-bottles", "sub_bottles: {max: 1}", ""},
		{"ports", "publish: [80]", ":2: publish: it is not supported yet by this version (reachable ports)"},
		{"no ports", "publish: []", ""},
		{"the log", "egress: {log: 1}", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			b.bottleFile("made", tt.bottle)
			if _, err := (manifest.Loader{Home: b.home}).Bottle("made"); err != nil {
				t.Fatalf("the file is not loaded: %v", err)
			}
			_, err := b.Plan(t.Context(), LaunchRequest{Bottles: []string{"made"}, Principal: operator})
			var plan *PlanError
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (!errors.As(err, &plan) || !strings.Contains(err.Error(), "made.md"+tt.want)):
				t.Fatalf("error is %v", err)
			}
		})
	}
}

// TestUnsupportedIsDocumented has the reference page name the keys that may
// refuse a launch, and no others.
func TestUnsupportedIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/manifests.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## What this version does not do yet")
	section, _, _ = strings.Cut(section, "\n## ")
	everything := &manifest.Bottle{
		Routes: []manifest.Route{{
			DLP: &sidecars.DLP{Outbound: []string{"x"}, Inbound: []string{"x"}, OnMatch: "x"}, GitFetch: true,
			Auth: &manifest.Auth{Scheme: sidecars.SchemeBasic}, Budget: &sidecars.Budget{Requests: 1}, Response: &sidecars.ResponseRules{MaxBytes: 1},
		}},
		Supervise:  true,
		User:       manifest.GitUser{Name: "x"},
		Provider:   manifest.AgentProvider{Template: "x", AuthToken: "X", ForwardHostCredentials: true},
		SubBottles: manifest.SubBottles{Max: 1},
		Publish:    []int{1},
	}
	refused := Unsupported(everything, &manifest.Agent{Skills: []string{"x"}, User: manifest.GitUser{Name: "x"}})
	if len(refused) == 0 {
		t.Fatal("everything is supported: take the section out of the page")
	}
	keys, documented := map[string]bool{}, map[string]bool{}
	for _, e := range refused {
		keys[strings.ReplaceAll(e.Key, "[0]", "[]")] = true
	}
	for line := range strings.Lines(section) {
		if first, _, isRow := strings.Cut(strings.TrimPrefix(line, "| "), " | "); isRow {
			for i, word := range strings.Split(first, "`") {
				if i%2 == 1 {
					documented[word] = true
				}
			}
		}
	}
	if !maps.Equal(keys, documented) {
		t.Errorf("this version refuses %v, docs/manifests.md says %v", slices.Sorted(maps.Keys(keys)), slices.Sorted(maps.Keys(documented)))
	}
}

// TestUnsupportedInherited names the file that asks, not the one that inherits.
func TestUnsupportedInherited(t *testing.T) {
	b := newBed(t)
	b.bottleFile("parent", "\n\npublish: [80]")
	b.bottleFile("child", "extends: parent")
	_, err := b.Plan(t.Context(), LaunchRequest{Bottles: []string{"child"}, Principal: operator})
	if err == nil || !strings.Contains(err.Error(), "parent.md:4: publish: ") {
		t.Errorf("error is %v", err)
	}
}

// TestMatchesReachTheSidecar follows what a manifest says of a route into the
// proxy's configuration and into words.
func TestMatchesReachTheSidecar(t *testing.T) {
	b := newBed(t)
	b.bottleFile("made", "egress:\n  routes:\n    - host: a.example.com\n      matches:\n        - methods: [get]\n          paths: [{type: prefix, value: /v1/}]\n          headers: [{name: accept, value: x}]\n"+
		"    - host: git.example.com\n      git: {fetch: true}")
	p := b.plan(LaunchRequest{Bottles: []string{"made"}})
	if want := "only a.example.com (only GET on /v1 and below with the right Accept), git.example.com (git fetch)"; p.Policy != want {
		t.Errorf("the policy is %q, want %q", p.Policy, want)
	}
	if _, err := b.Launch(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	want := []sidecars.Route{
		{Host: "a.example.com", Matches: []sidecars.Match{{
			Paths:   []sidecars.PathMatch{{Type: sidecars.MatchPrefix, Value: "/v1"}},
			Methods: []string{"GET"},
			Headers: []sidecars.HeaderMatch{{Name: "Accept", Type: sidecars.MatchExact, Value: "x"}},
		}}},
		{Host: "git.example.com", GitFetch: true},
	}
	if got := b.fake.bottles[p.ID].sidecar.Config.Routes; !reflect.DeepEqual(got, want) {
		t.Errorf("the proxy gets %+v", got)
	}
	narrowed := b.plan(LaunchRequest{Bottles: []string{"made"}, OnlyHosts: []string{"a.example.com"}})
	if want := "only a.example.com (only GET on /v1 and below with the right Accept)"; narrowed.Policy != want {
		t.Errorf("narrowed, the policy is %q", narrowed.Policy)
	}
}
