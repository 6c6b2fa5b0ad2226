package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// mergeFiles are parents and partners of the tables below.
func mergeFiles() map[string]string {
	text := map[string]string{
		"a":     "env: {X: a, Y: a}\negress: {log: 1, routes: [{host: a.example.com}, {host: s.example.com, ports: [443]}]}\nttl: 1h\nresources: {pids: 9, cpus: 1}\npublish: [80, 81]\nsub_bottles: {max: 4}",
		"b":     "env: {X: b}\negress: {log: 0, routes: [{host: b.example.com}, {host: s.example.com, ports: [443]}]}\nttl: 2h\nresources: {pids: 5}\nbackend: linux\npublish: [81, 82]\nsub_bottles: {max: 2, depth: 3}",
		"other": "egress: {routes: [{host: s.example.com, auth: {scheme: token, token_ref: T}}]}\nbackend: other\nisolation: gvisor\nimage: debian\nsupervise: false",
		"gate":  "git-gate:\n  user: {name: A, email: a@example.com}\n  repos:\n    app: {url: \"git@example.com:app.git\", identity: /key}\n    lib: {url: \"git@example.com:lib.git\", identity: /key}",
		"gate2": "git-gate:\n  user: {name: B}\n  repos:\n    app: {url: \"git@mirror.example.com:app.git\", key: {provider: gitea, forge_token_env: T}}\n    web: {url: \"git@example.com:web.git\", identity: /key}",
		"token": "agent_provider: {template: claude, auth_token: T}",
		"host":  "agent_provider: {template: codex, forward_host_credentials: true}",
		"file":  "agent_provider: {dockerfile: /Dockerfile}\nsupervise: true",
		"none":  "sub_bottles: {max: 0}",
	}
	out := map[string]string{}
	for name, front := range text {
		out["bottles/"+name+".md"] = "---\n" + front + "\n---\n"
	}
	return out
}

// outcome is what the tables compare, in words.
func outcome(b *Bottle) string {
	var parts []string
	add := func(key, value string) {
		if value != "" {
			parts = append(parts, key+"="+value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Env)) {
		add(name, b.Env[name].String())
	}
	add("hosts", strings.ReplaceAll(strings.Join(hosts(b.Routes), ","), ".example.com", ""))
	for _, v := range b.Values() {
		if !strings.HasPrefix(v.Key, "env.") && !strings.HasPrefix(v.Key, routesPath) && v.Key != "extends" {
			add(v.Key, v.Text())
		}
	}
	return strings.Join(parts, " ")
}

// TestInherit are the rules of extends. Each case is the child's front matter.
func TestInherit(t *testing.T) {
	const (
		fromA = "publish=[80, 81]"
		whole = "X=a Y=a hosts=a,s egress.log=1 resources.cpus=1 resources.pids=9 ttl=1h0m0s sub_bottles.max=4 publish=[80, 81]"
		ab    = "X=b Y=a hosts=a,s,b egress.log=0 backend=linux resources.cpus=1 resources.pids=5 ttl=2h0m0s sub_bottles.max=2 sub_bottles.depth=3 publish=[80, 81, 82]"
	)
	tests := []struct{ name, child, want string }{
		{"nothing of its own", "extends: a", whole},
		{"a list of one is the same", "extends: [a]", whole},
		{"variables one by one", "extends: a\nenv: {X: c, Z: c}", strings.Replace(whole, "X=a Y=a", "X=c Y=a Z=c", 1)},
		{"an empty env adds nothing", "extends: a\nenv: {}", whole},
		{"egress as a whole", "extends: a\negress: {routes: [{host: c.example.com}]}", strings.Replace(whole, "hosts=a,s egress.log=1", "hosts=c", 1)},
		{"empty egress clears", "extends: a\negress: {}", strings.Replace(whole, " hosts=a,s egress.log=1", "", 1)},
		{"the log alone clears the routes", "extends: a\negress: {log: 0}", strings.Replace(whole, "hosts=a,s egress.log=1", "egress.log=0", 1)},
		{"resources field by field", "extends: a\nresources: {pids: 3}", strings.Replace(whole, "pids=9", "pids=3", 1)},
		{"single values", "extends: a\nttl: 9h\nbackend: linux", strings.Replace(strings.Replace(whole, "1h0", "9h0", 1), " resources.cpus", " backend=linux resources.cpus", 1)},
		{"ports as a whole", "extends: a\npublish: [90]", strings.Replace(whole, fromA, "publish=[90]", 1)},
		{"no ports clears", "extends: a\npublish: []", strings.Replace(whole, fromA, "publish=[]", 1)},
		{"sub-bottles field by field", "extends: a\nsub_bottles: {depth: 2}", strings.Replace(whole, "max=4", "max=4 sub_bottles.depth=2", 1)},
		{"two parents, the later wins", "extends: [a, b]", ab},
		{"the other way round", "extends: [b, a]", "X=a Y=a hosts=b,s,a egress.log=1 backend=linux resources.cpus=1 resources.pids=9 ttl=1h0m0s sub_bottles.max=4 sub_bottles.depth=3 publish=[80, 81, 82]"},
		{"the child over both", "extends: [a, b]\negress: {}\nttl: 5m", strings.Replace(strings.Replace(ab, " hosts=a,s,b egress.log=0", "", 1), "2h0m0s", "5m0s", 1)},
		{"identity by part", "extends: gate\ngit-gate: {user: {name: C}}", "git-gate.user.name=C git-gate.user.email=a@example.com " + reposOf("app", "lib")},
		{"repositories as a whole", "extends: gate\ngit-gate: {repos: {web: {url: \"git@example.com:web.git\", identity: /key}}}", "git-gate.user.name=A git-gate.user.email=a@example.com " + reposOf("web")},
		{"no repositories clears", "extends: gate\ngit-gate: {repos: {}}", "git-gate.user.name=A git-gate.user.email=a@example.com"},
		{"an empty gate changes nothing", "extends: gate\ngit-gate: {}", "git-gate.user.name=A git-gate.user.email=a@example.com " + reposOf("app", "lib")},
		{"repositories of two parents by part", "extends: [gate, gate2]", "git-gate.user.name=B git-gate.user.email=a@example.com" +
			" git-gate.repos.app.url=git@mirror.example.com:app.git git-gate.repos.app.key.provider=gitea git-gate.repos.app.key.forge_token_env=T " + reposOf("lib", "web")},
		{"a token replaces the host's login", "extends: host\nagent_provider: {auth_token: U}", "agent_provider.template=codex agent_provider.auth_token=U"},
		{"the host's login replaces a token", "extends: token\nagent_provider: {forward_host_credentials: true}", "agent_provider.template=claude agent_provider.forward_host_credentials=true"},
		{"no login of the host leaves a token", "extends: token\nagent_provider: {forward_host_credentials: false}", "agent_provider.template=claude agent_provider.auth_token=T agent_provider.forward_host_credentials=false"},
		{"no login at all", "extends: host\nagent_provider: {forward_host_credentials: false}", "agent_provider.template=codex agent_provider.forward_host_credentials=false"},
		{"logins of two parents", "extends: [token, host]", "agent_provider.template=codex agent_provider.forward_host_credentials=true"},
		{"an image replaces a Dockerfile", "extends: file\nimage: debian", "supervise=true image=debian"},
		{"a Dockerfile replaces an image", "extends: other\negress: {}\nagent_provider: {dockerfile: /D}", "supervise=false agent_provider.dockerfile=/D backend=other isolation=gvisor"},
		{"supervise off", "extends: file\nsupervise: false", "supervise=false agent_provider.dockerfile=/Dockerfile"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := mergeFiles()
			files["bottles/child.md"] = "---\n" + tt.child + "\n---\n"
			l := home(t, files)
			before := map[string]string{}
			for _, name := range l.Bottles() {
				if b, err := l.Bottle(name); err == nil && name != "child" {
					before[name] = outcome(b)
				}
			}
			b, err := l.Bottle("child")
			if err != nil {
				t.Fatal(err)
			}
			if got := outcome(b); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			for name, want := range before {
				if p, err := l.Bottle(name); err != nil || outcome(p) != want {
					t.Errorf("%s changed: %v, %v", name, p, err)
				}
			}
		})
	}
}

func reposOf(names ...string) string {
	var out []string
	for _, name := range names {
		out = append(out, "git-gate.repos."+name+".url=git@example.com:"+name+".git", "git-gate.repos."+name+".identity=/key")
	}
	return strings.Join(out, " ")
}

// TestDiamond reaches one grandparent by many ways: it is read once, and what it
// says counts once.
func TestDiamond(t *testing.T) {
	files := map[string]string{"bottles/top.md": "---\negress: {routes: [{host: top.example.com}]}\npublish: [80]\n---\n"}
	below := "top"
	for i := range 15 {
		level := string(rune('a' + i))
		for _, side := range []string{"l", "r"} {
			files["bottles/"+level+side+".md"] = "---\nextends: [" + below + "]\n---\n"
		}
		below = level + "l, " + level + "r"
	}
	files["bottles/bottom.md"] = "---\nextends: [" + below + "]\n---\n"
	b, err := home(t, files).Bottle("bottom")
	if err != nil || len(b.Routes) != 1 || !slices.Equal(b.Publish, []int{80}) {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestLongChain(t *testing.T) {
	files := map[string]string{"bottles/p-00.md": "---\n---\n"}
	for i := 1; i <= 40; i++ {
		files[fmt.Sprintf("bottles/p-%02d.md", i)] = fmt.Sprintf("---\nextends: p-%02d\n---\n", i-1)
	}
	l := home(t, files)
	if _, err := l.Bottle("p-32"); err != nil {
		t.Error(err)
	}
	if _, err := l.Bottle("p-33"); err == nil || !strings.Contains(err.Error(), "longer than 32") {
		t.Errorf("error is %v", err)
	}
}

// TestMerge are the rules of several bottles at one launch.
func TestMerge(t *testing.T) {
	tests := []struct {
		name    string
		bottles string
		want    string // or, after "!", what the error says
	}{
		{"one", "a", "X=a Y=a hosts=a,s egress.log=1 resources.cpus=1 resources.pids=9 ttl=1h0m0s sub_bottles.max=4 publish=[80, 81]"},
		{"two", "a b", "X=b Y=a hosts=a,s,b egress.log=1 backend=linux resources.cpus=1 resources.pids=5 ttl=1h0m0s sub_bottles.max=2 sub_bottles.depth=3 publish=[80, 81, 82]"},
		{"the other way round", "b a", "X=a Y=a hosts=b,s,a egress.log=1 backend=linux resources.cpus=1 resources.pids=5 ttl=1h0m0s sub_bottles.max=2 sub_bottles.depth=3 publish=[80, 81, 82]"},
		{"itself", "a a", "X=a Y=a hosts=a,s egress.log=1 resources.cpus=1 resources.pids=9 ttl=1h0m0s sub_bottles.max=4 publish=[80, 81]"},
		{"no sub-bottles wins", "a none", "X=a Y=a hosts=a,s egress.log=1 resources.cpus=1 resources.pids=9 ttl=1h0m0s sub_bottles.max=0 publish=[80, 81]"},
		{"a built-in one", "default gate", "git-gate.user.name=A git-gate.user.email=a@example.com " + reposOf("app", "lib")},
		{"another route", "a other", `!host "s.example.com" has another route in`},
		{"another engine", "b other", `!other.md:3: backend: it contradicts `},
		{"another repository", "gate gate2", "!gate2.md:5: git-gate.repos.app: another repository has this name in "},
		{"another identity", "gate gate2", "!gate2.md:3: git-gate.user.name: it contradicts "},
		{"another template", "token host", "!host.md:2: agent_provider.template: it contradicts "},
		{"another login", "token host", "!host.md:2: agent_provider.forward_host_credentials: an earlier bottle logs in another way"},
		{"another root", "file other", "!other.md:5: image: it contradicts "},
		{"supervise both ways", "file other", "!other.md:6: supervise: it contradicts "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := home(t, mergeFiles())
			var bottles []*Bottle
			for _, name := range strings.Fields(tt.bottles) {
				b, err := l.Bottle(name)
				if err != nil {
					t.Fatal(err)
				}
				bottles = append(bottles, b)
			}
			before := outcome(bottles[0])
			m, err := Merge(bottles)
			if want, fails := strings.CutPrefix(tt.want, "!"); fails {
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "launch the bottles apart") && !strings.Contains(err.Error(), "keep one") {
					t.Fatalf("error %v lacks %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := outcome(m); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if outcome(bottles[0]) != before {
				t.Error("the first bottle changed")
			}
		})
	}
}

// TestMergeOrigins follows the values that were taken.
func TestMergeOrigins(t *testing.T) {
	l := home(t, mergeFiles())
	a, errA := l.Bottle("a")
	b, errB := l.Bottle("b")
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	m, err := Merge([]*Bottle{a, b})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"ttl": "a.md:4", "resources.pids": "b.md:5", "resources.cpus": "a.md:5", "env.X": "b.md:2", "env.Y": "a.md:2", "backend": "b.md:6",
		"egress.routes[0].host": "a.md:3", "egress.routes[2].host": "b.md:3", "egress.log": "a.md:3", "sub_bottles.max": "b.md:8",
	} {
		if got := m.Origins[key].String(); !strings.HasSuffix(got, "/"+want) {
			t.Errorf("%s comes from %s, want %s", key, got, want)
		}
	}
	if m.TTL != time.Hour || m.Limits != (backend.Limits{PIDs: 5, CPUs: 1}) || m.Name != "a+b" {
		t.Errorf("merged into %+v", m)
	}
}
