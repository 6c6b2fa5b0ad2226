package provision

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

func TestPlanProblems(t *testing.T) {
	tests := []struct {
		name   string
		req    LaunchRequest
		mutate func(*bed)
		field  string // of an *InvalidError; "" = any error
		want   string
	}{
		{name: "unknown host", req: LaunchRequest{OnlyHosts: []string{"evil.example.com"}}, field: "only_hosts", want: "can only narrow"},
		{name: "apex of a wildcard", req: LaunchRequest{OnlyHosts: []string{"d.example.com"}}, field: "only_hosts", want: "can only narrow"},
		{name: "wider wildcard", req: LaunchRequest{OnlyHosts: []string{"*.example.com"}}, field: "only_hosts", want: "can only narrow"},
		{name: "malformed host", req: LaunchRequest{OnlyHosts: []string{"a.example.com:443"}}, field: "only_hosts", want: "is not a host"},
		{name: "longer", req: LaunchRequest{TTL: 2 * time.Hour}, field: "ttl", want: "longer than the 1h0m0s"},
		{name: "negative ttl", req: LaunchRequest{TTL: -1}, field: "ttl", want: "shorter than"},
		{name: "more processes", req: LaunchRequest{Limits: backend.Limits{PIDs: 101}}, field: "limits.pids", want: "101 is more than the 100"},
		{name: "more disk than the default", req: LaunchRequest{Limits: backend.Limits{DiskBytes: 5 << 30}}, field: "limits.disk_bytes", want: "more than"},
		{name: "negative memory", req: LaunchRequest{Limits: backend.Limits{MemoryBytes: -1}}, field: "limits.memory_bytes", want: "positive"},
		{name: "proxy variable", req: LaunchRequest{Env: map[string]string{"https_proxy": "x"}}, field: "env https_proxy", want: "wiring"},
		{name: "CA variable", req: LaunchRequest{Env: map[string]string{"SSL_CERT_FILE": "x"}}, field: "env SSL_CERT_FILE", want: "wiring"},
		{name: "slot variable", req: LaunchRequest{Env: map[string]string{"EGRESS_TOKEN_0": "x"}}, field: "env EGRESS_TOKEN_0", want: "wiring"},
		{name: "base variable", req: LaunchRequest{Env: map[string]string{"PATH": "/x"}}, field: "env PATH", want: "wiring"},
		{name: "manifest's variable", req: LaunchRequest{Env: map[string]string{"PLAIN": "x"}}, field: "env PLAIN", want: "operator's manifest sets"},
		{name: "NUL in env", req: LaunchRequest{Env: map[string]string{"X": "a\x00b"}}, field: "env X", want: "NUL"},
		{name: "odd env name", req: LaunchRequest{Env: map[string]string{"A=B": "x"}}, field: "env", want: "not the name"},
		{name: "question", req: LaunchRequest{Bottles: []string{"asks"}}, field: "env TICKET of the manifest", want: `("which ticket"): put TICKET into the launch's env`},
		{name: "token missing", mutate: func(b *bed) { b.setenv("TOKEN", "") }, field: "egress.routes[].auth.token_ref", want: "TOKEN is not set"},
		{name: "token with a newline", mutate: func(b *bed) { b.setenv("TOKEN", secretToken+"\n") }, field: "egress.routes[].auth.token_ref", want: "TOKEN holds a blank"},
		{name: "host variable missing", mutate: func(b *bed) { b.setenv("FROM_HOST", "") }, field: "env COPIED of the manifest", want: "FROM_HOST is not set"},
		{name: "reserved in the manifest", req: LaunchRequest{Bottles: []string{"reserved"}}, field: "env HTTP_PROXY of the manifest", want: "remove it from the manifest"},
		{name: "label with a newline", req: LaunchRequest{Label: "a\nb"}, field: "label", want: "one line"},
		{name: "label with an escape", req: LaunchRequest{Label: "a\x1b[31m"}, field: "label", want: "printable"},
		{name: "prompt with NUL", req: LaunchRequest{Prompt: "a\x00"}, field: "prompt", want: "NUL"},
		{name: "odd id", req: LaunchRequest{ID: "../x"}, field: "id", want: "not valid"},
		{name: "too many bottles", req: LaunchRequest{Bottles: slices.Repeat([]string{"full"}, 17)}, field: "bottles", want: "at most 16"},
		{name: "no such bottle", req: LaunchRequest{Bottles: []string{"nobody"}}, want: `there is no bottle "nobody"; known bottles: asks, boss, broken, default, elsewhere, full, reserved, strong`},
		{name: "broken bottle", req: LaunchRequest{Bottles: []string{"broken"}}, want: "broken.md:2: egres"},
		{name: "bottle name with a path", req: LaunchRequest{Bottles: []string{"../../x"}}, want: "is not the name of a bottle"},
		{name: "no such agent", req: LaunchRequest{Agent: "nobody"}, want: `there is no agent "nobody"`},
		{name: "manifest's backend against the request", req: LaunchRequest{Bottles: []string{"elsewhere"}, Backend: "linux"}, field: "backend", want: `operator's choice is "macos-container"`},
		{name: "isolation class", mutate: func(b *bed) { b.fake.caps.Isolation = []string{"namespace"} }, req: LaunchRequest{Bottles: []string{"strong"}}, field: "isolation of the manifest", want: `no class "gvisor"`},
		{name: "no egress service", mutate: func(b *bed) { b.fake.caps.Services = nil }, field: "backend", want: "cannot serve egress"},
		{name: "no bottles service", req: LaunchRequest{Bottles: []string{"boss"}}, mutate: func(b *bed) { b.fake.caps.Services = b.fake.caps.Services[:1] }, field: "backend", want: "cannot serve bottles, which sub_bottles needs"},
		{name: "unknown bottle as caller", req: LaunchRequest{Principal: Principal{Kind: Guest, Bottle: "x"}}, field: "principal", want: "only the operator's side and bottles that run"},
		{name: "nobody as caller", req: LaunchRequest{Principal: Principal{Kind: "else"}}, field: "principal", want: "only the operator's side"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, _ := fullBed(t)
			b.bottleFile("asks", `env: {TICKET: "? which ticket"}`)
			b.bottleFile("reserved", "env: {HTTP_PROXY: x}")
			b.bottleFile("broken", "egres: {}")
			b.bottleFile("elsewhere", "backend: macos-container")
			b.bottleFile("strong", "isolation: gvisor")
			b.bottleFile("boss", "sub_bottles: {max: 1}")
			if tt.mutate != nil {
				tt.mutate(b)
			}
			req := tt.req
			if req.Principal.Kind == "" {
				req.Principal = operator
			}
			if req.Bottles == nil && req.Agent == "" {
				req.Bottles = []string{"full"}
			}
			_, err := b.Plan(t.Context(), req)
			var plan *PlanError
			if !errors.As(err, &plan) {
				t.Fatalf("error is %v, want a *PlanError", err)
			}
			if tt.field != "" {
				wantInvalid(t, err, tt.field, tt.want)
			} else if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v lacks %q", err, tt.want)
			}
			if strings.Contains(err.Error(), secretToken) {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
}

func TestPlanGathersAll(t *testing.T) {
	b, _ := fullBed(t)
	_, err := b.Plan(t.Context(), LaunchRequest{
		Principal: operator, Bottles: []string{"full"}, TTL: 5 * time.Hour, Label: "\n", Workspace: "/etc",
		OnlyHosts: []string{"x.example.org", "y.example.org"}, Env: map[string]string{"PATH": "x"}, Limits: backend.Limits{PIDs: 9999},
	})
	var plan *PlanError
	if !errors.As(err, &plan) || len(plan.Problems) != 7 {
		t.Errorf("error is %v", err)
	}
}

func TestPlanNarrowed(t *testing.T) {
	b, _ := fullBed(t)
	b.bottleFile("asks", `env: {TICKET: "?"}`+"\nttl: 2h")
	p := b.plan(LaunchRequest{
		Bottles: []string{"full", "asks"}, OnlyHosts: []string{"B.example.com", "x.d.example.com"}, TTL: time.Minute,
		Limits: backend.Limits{PIDs: 5, CPUs: 0.5}, Env: map[string]string{"TICKET": "42"},
	})
	if p.TTL != time.Minute || p.Limits.PIDs != 5 || p.Limits.CPUs != 0.5 || p.Limits.DiskBytes != defaultDisk {
		t.Errorf("bounds are %s, %+v", p.TTL, p.Limits)
	}
	want := []RouteSummary{
		{Host: "b.example.com", Ports: []int{8443}, Auth: "token from $TOKEN"},
		{Host: "x.d.example.com", Ports: []int{}, Private: []string{"10.0.0.0/8"}},
	}
	if len(p.Routes) != 2 || p.Routes[0].Auth != want[0].Auth || p.Routes[0].Ports[0] != 8443 || p.Routes[1].Host != want[1].Host || p.Routes[1].Private[0] != "10.0.0.0/8" {
		t.Errorf("routes are %+v", p.Routes)
	}
	if p.Policy != "only b.example.com (ports 8443; a credential is added), x.d.example.com (private addresses allowed)" {
		t.Errorf("policy is %q", p.Policy)
	}
	if !slices.Contains(p.EnvNames, "TICKET") || !slices.Contains(p.EnvNames, "https_proxy") || !slices.IsSorted(p.EnvNames) {
		t.Errorf("names are %v", p.EnvNames)
	}
	if none := b.plan(LaunchRequest{Bottles: []string{"full"}, OnlyHosts: []string{}}); len(none.Routes) != 0 || none.Policy != "no host can be reached" {
		t.Errorf("no hosts: %+v", none)
	}
}

func TestPlanAgent(t *testing.T) {
	b, _ := fullBed(t)
	put(t, b.home, "agents/mine.md", "---\nbottle: full\n---\nYou are mine.")
	put(t, b.root, "ws/.bot-bottle/agents/theirs.md", "---\nbottle: full\n---\n")
	p := b.plan(LaunchRequest{Agent: "mine", Prompt: "Go."})
	if !slices.Equal(p.Bottles, []string{"full"}) || p.resolved.prompt != "You are mine.\n\nGo." || !strings.HasPrefix(string(p.ID), "mine-") {
		t.Errorf("plan is %+v, prompt %q", p, p.resolved.prompt)
	}
	if p = b.plan(LaunchRequest{Agent: "mine", Bottles: []string{"default"}}); !slices.Equal(p.Bottles, []string{"default"}) {
		t.Errorf("bottles are %v", p.Bottles)
	}
	if p = b.plan(LaunchRequest{Agent: "theirs", Workspace: "ws"}); p.Bottles[0] != "full" {
		t.Errorf("bottles are %v", p.Bottles)
	}
	if p = b.plan(LaunchRequest{}); p.Bottles[0] != "default" || len(p.Routes) != 0 || p.TTL != defaultTTL {
		t.Errorf("default is %+v", p)
	}
}

func TestBackendChoice(t *testing.T) {
	b := newBed(t)
	var selection *backend.SelectionError
	if _, err := b.Plan(t.Context(), LaunchRequest{Principal: operator, Backend: "docker"}); !errors.As(err, &selection) {
		t.Errorf("unknown backend: %v", err)
	}
	b.fake.fail["Check"] = &backend.UnavailableError{Backend: "linux", Reason: "no namespaces"}
	var unavailable *backend.UnavailableError
	if _, err := b.Plan(t.Context(), LaunchRequest{Principal: operator}); !errors.As(err, &unavailable) {
		t.Errorf("unavailable backend: %v", err)
	}
	delete(b.fake.fail, "Check")
	b.setenv("BOT_BOTTLE_BACKEND", "other")
	if _, err := b.Plan(t.Context(), LaunchRequest{Principal: operator}); !errors.As(err, &selection) || selection.Source != "BOT_BOTTLE_BACKEND" {
		t.Errorf("environment: %v", err)
	}
	b.cfg.Backend = "linux"
	if p := b.plan(LaunchRequest{}); p.Backend != "linux" {
		t.Errorf("the operator's choice: %+v", p)
	}
	_, err := b.Plan(t.Context(), LaunchRequest{Principal: operator, Backend: "other"})
	wantInvalid(t, err, "backend", "operator's choice")
}

func TestIDs(t *testing.T) {
	for in, want := range map[string]string{
		"My Task": "my-task", "  --x--  ": "x", "ünïcode": "n-code", "": "", "///": "", "a/b\\c": "a-b-c",
		strings.Repeat("long ", 20): "long-long-long-long-long-long-long",
	} {
		if got := slug(in); got != want {
			t.Errorf("slug(%q) is %q, want %q", in, got, want)
		}
	}
	b := newBed(t)
	seen := map[backend.ID]bool{}
	for _, label := range []string{"", "ü", strings.Repeat("x", 200), "run ls"} {
		for range 20 {
			p := b.plan(LaunchRequest{Label: label})
			if err := p.ID.Validate(); err != nil || seen[p.ID] {
				t.Errorf("label %q gives id %q: %v", label, p.ID, err)
			}
			seen[p.ID] = true
		}
	}
}

func TestWorkspaces(t *testing.T) {
	b := newBed(t)
	outside := t.TempDir()
	put(t, b.root, "ws/file", "x")
	put(t, b.root, "inner/x", "x")
	for link, target := range map[string]string{"out": outside, "in": "inner", "nowhere": "absent", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(b.root, link)); err != nil {
			t.Fatal(err)
		}
	}
	good := map[string]string{"ws": "ws", "./ws/": "ws", filepath.Join(b.root, "ws"): "ws", ".": "", "in": "inner"}
	for path, want := range good {
		if p := b.plan(LaunchRequest{Workspace: path}); p.Workspace.Host != filepath.Join(b.root, want) || p.Workspace.Guest != backend.GuestWorkspace {
			t.Errorf("workspace %q is %+v", path, p.Workspace)
		}
	}
	bad := map[string]string{
		"absent": "cannot be read", "ws/file": "not a directory", "ws/file/x": "cannot be used", "..": "'..'", "ws/../ws": "'..'",
		"out": "lies outside", "out/x": "lies outside", outside: "lies outside", "/": "lies outside", "/etc": "lies outside",
		"nowhere": "leads nowhere", "loop": "cannot be used", "a\x00": "NUL", b.home: "lies outside", b.root + "x": "lies outside",
	}
	for path, want := range bad {
		_, err := b.Plan(t.Context(), LaunchRequest{Principal: operator, Workspace: path})
		wantInvalid(t, err, "workspace", want)
	}
	b.roots.allowed = nil
	_, err := b.Plan(t.Context(), LaunchRequest{Principal: operator, Workspace: "ws"})
	wantInvalid(t, err, "workspace", "allows no host directory")
}

// TestProtected puts the manifests and the state inside a root, as when the
// server is started in the home.
func TestProtected(t *testing.T) {
	root := t.TempDir()
	home, stateDir := filepath.Join(root, ".bot-bottle"), filepath.Join(root, ".local", "state")
	r, err := newRoots([]string{root}, []string{home, stateDir})
	if err != nil {
		t.Fatal(err)
	}
	put(t, root, "ws/x", "")
	if err := os.Symlink(home, filepath.Join(root, "alias")); err != nil {
		t.Fatal(err)
	}
	put(t, home, "bottles/x.md", "")
	tests := []struct {
		path    string
		to      access
		refused bool
	}{
		{"ws", forReading, false},
		{"ws", forWriting, false},
		{"ws/new/deep", forWriting, false},
		{".", forReading, false},
		{".", forWriting, true},
		{".local", forWriting, true},
		{".local/other", forWriting, false},
		{".local/state/x", forWriting, true},
		{".bot-bottle", forReading, true},
		{".bot-bottle/bottles", forWriting, true},
		{"alias/bottles", forWriting, true},
		{"alias", forReading, true},
	}
	for _, tt := range tests {
		_, err := r.resolve("p", tt.path, tt.to)
		if (err != nil) != tt.refused {
			t.Errorf("%s for %d: %v", tt.path, tt.to, err)
		}
	}
	for _, bad := range []string{"/", filepath.Join(root, "absent"), filepath.Join(root, "ws", "x")} {
		if _, err := newRoots([]string{bad}, nil); err == nil {
			t.Errorf("root %s was accepted", bad)
		}
	}
}

func TestNewManagerNeeds(t *testing.T) {
	if _, err := NewManager(Config{}); err == nil {
		t.Error("an empty configuration was accepted")
	}
}

// decide is what the egress proxy's table does: the exact name, else the
// longest wildcard.
func decide(routes []manifest.Route, host string) (manifest.Route, bool) {
	r, ok := covering(routes, host)
	r.Host = ""
	return r, ok
}

// covering finds the route that decides host, which may be a wildcard itself.
func covering(routes []manifest.Route, host string) (manifest.Route, bool) {
	best, found := manifest.Route{}, false
	for _, r := range routes {
		if r.Host == host {
			return r, true
		}
		if covers(r.Host, host) && (!found || len(r.Host) > len(best.Host)) {
			best, found = r, true
		}
	}
	return best, found
}

// covers reports whether the wildcard takes in every host of pattern, which is
// below it and not itself. No wildcard covers an address.
func covers(wildcard, pattern string) bool {
	suffix, ok := strings.CutPrefix(wildcard, "*")
	inner := strings.TrimPrefix(pattern, "*")
	return ok && wildcard != pattern && len(inner) > len(suffix) && strings.HasSuffix(inner, suffix)
}

// FuzzNarrow checks the promise of narrowing: every host that is still allowed
// is decided exactly as before, and every host asked for is allowed.
func FuzzNarrow(f *testing.F) {
	f.Add("a.x.org *.x.org *.b.x.org c.b.x.org", "*.x.org c.b.x.org *.b.x.org", "z.b.x.org")
	f.Add("*.x.org q.x.org", "*.x.org", "q.x.org")
	f.Fuzz(func(t *testing.T, allowed, only, probe string) {
		var routes []manifest.Route
		seen := map[string]bool{}
		for i, host := range strings.Fields(allowed) {
			if manifest.CheckHost(host) == nil && !seen[host] {
				seen[host] = true
				r := manifest.Route{Host: host, Ports: []int{i + 1}}
				if _, err := netip.ParseAddr(host); err == nil {
					r.Private = []string{host}
				}
				routes = append(routes, r)
			}
		}
		narrowed, problems := narrowRoutes(routes, LaunchRequest{OnlyHosts: strings.Fields(only)})
		if len(problems) > 0 {
			return // nothing is launched then
		}
		names := strings.Fields(probe)
		for _, r := range slices.Concat(routes, narrowed) {
			names = append(names, r.Host, "q"+strings.TrimPrefix(r.Host, "*"), strings.Replace(r.Host, "*", "q", 1))
		}
		for _, host := range names {
			if manifest.CheckHost(host) != nil || strings.HasPrefix(host, "*") {
				continue
			}
			before, could := decide(routes, host)
			after, can := decide(narrowed, host)
			if can && (!could || !before.Equal(after)) {
				t.Errorf("%q is decided by %+v and was by %+v (%v): allowed %q, only %q", host, after, before, could, allowed, only)
			}
			if asked := slices.Contains(strings.Fields(only), host); asked && could && !can {
				t.Errorf("%q was asked for and is gone", host)
			}
		}
		if len(narrowed) == 0 && len(strings.Fields(only)) > 0 {
			t.Error("nothing is left and nothing is said")
		}
	})
}

// TestOneBottleForACaller: the union of two bottles may reach more than each, so a
// request joins them only where the operator said so.
func TestOneBottleForACaller(t *testing.T) {
	b := newBed(t)
	b.setenv("TOKEN", secretToken)
	b.bottleFile("keyed", "egress: {routes: [{host: a.example.com, auth: {scheme: Bearer, token_ref: TOKEN}}]}")
	b.bottleFile("wide", "egress: {routes: [{host: \"*.example.org\"}]}")
	b.bottleFile("both", "extends: [keyed, wide]")
	put(t, b.home, "agents/worker.md", "---\nbottle: both\n---\n")
	joined := LaunchRequest{Bottles: []string{"keyed", "wide"}, Principal: operator}
	for _, tt := range []struct {
		name   string
		merge  bool
		req    LaunchRequest
		routes int // 0 = refused
	}{
		{"two", false, joined, 0},
		{"two where the operator allows it", true, joined, 2},
		{"one twice", false, LaunchRequest{Bottles: []string{"keyed", "keyed"}}, 0},
		{"one", false, LaunchRequest{Bottles: []string{"keyed"}}, 1},
		{"a file that joins them", false, LaunchRequest{Bottles: []string{"both"}}, 2},
		{"an agent's own", false, LaunchRequest{Agent: "worker"}, 2},
		{"beside an agent's own", false, LaunchRequest{Agent: "worker", Bottles: []string{"keyed", "wide"}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.rules(func(c *Config) { c.MergeBottles = tt.merge })
			tt.req.Principal = operator
			p, err := b.Plan(t.Context(), tt.req)
			switch {
			case tt.routes == 0 && (err == nil || !strings.Contains(err.Error(), `"extends: [keyed, `)):
				t.Errorf("error is %v", err)
			case tt.routes > 0 && (err != nil || len(p.Routes) != tt.routes):
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}
