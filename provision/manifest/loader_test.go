package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// home writes files (path below the home → text) and returns a loader.
func home(t *testing.T, files map[string]string) Loader {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	return Loader{Home: dir}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func goodFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/good/bottles", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestFullBottle(t *testing.T) {
	for _, eol := range []string{"\n", "\r\n"} {
		l := home(t, map[string]string{
			"bottles/full.md": strings.ReplaceAll(goodFile(t, "full.md"), "\n", eol),
			"bottles/base.md": goodFile(t, "base.md"),
		})
		b, err := l.Bottle("full")
		if err != nil {
			t.Fatal(err)
		}
		wantEnv := map[string]EnvValue{
			"BASE": {Literal: "from the base"}, "PLAIN": {Literal: "hello world"}, "EMPTY": {},
			"COPIED": {FromHost: "HOST_NAME"}, "ASKED": {Ask: true, Question: "the ticket to work on"},
			"ASKED_SILENTLY": {Ask: true}, "NOT_COPIED": {Literal: "a ${HOST_NAME} b"},
		}
		if !reflect.DeepEqual(b.Env, wantEnv) {
			t.Errorf("env is %+v", b.Env)
		}
		wantRoutes := []Route{
			{Host: "api.example.com", Auth: &Auth{Scheme: "Bearer", TokenRef: "API_TOKEN"}},
			{
				Host: "keys.example.com", Auth: &Auth{Scheme: "header", Header: "X-Api-Key", TokenRef: "KEYS_TOKEN"},
				DLP:      &sidecars.DLP{Outbound: []string{"known_secrets", "entropy"}, Inbound: []string{}, OnMatch: "block"},
				Budget:   &sidecars.Budget{Requests: 1000, BytesOut: 1 << 20, BytesIn: 1500, PerMinute: 60},
				Response: &sidecars.ResponseRules{MaxBytes: 64 << 10, Types: []string{"application/json", "text/*"}},
			},
			{Host: "login.example.com", Auth: &Auth{Scheme: "Basic", TokenRef: "LOGIN", Pin: &sidecars.Pin{
				Query: []string{"ticket"}, Headers: []string{"X-Ticket"}, AllowQuery: []string{"key"}, Cookies: "allow",
			}}},
			{Host: "*.files.example.com", Ports: []int{443, 8443}, DLP: &sidecars.DLP{InboundOnMatch: "block"}},
			{Host: "10.1.2.3", Ports: []int{80}, Private: []string{"10.1.2.3"}},
		}
		if !reflect.DeepEqual(b.Routes, wantRoutes) {
			t.Errorf("routes are %+v", b.Routes)
		}
		wantLimits := backend.Limits{CPUs: 1.5, MemoryBytes: 512 << 20, DiskBytes: 2 << 30, PIDs: 300}
		if b.Limits != wantLimits || b.TTL != 90*time.Minute || b.Backend != "linux" || b.Isolation != "namespace" {
			t.Errorf("limits %+v, ttl %s, backend %s, isolation %s", b.Limits, b.TTL, b.Backend, b.Isolation)
		}
	}
}

func TestExtends(t *testing.T) {
	base := "---\nenv: {A: base, B: base}\negress: {routes: [{host: base.example.com}]}\nbackend: linux\nttl: 2h\nresources: {cpus: 2, pids: 10}\n---\n"
	tests := []struct {
		name, child string
		hosts       []string
		env         map[string]string
		ttl         time.Duration
		limits      backend.Limits
	}{
		{"nothing of its own", "extends: base", []string{"base.example.com"}, map[string]string{"A": "base", "B": "base"}, 2 * time.Hour, backend.Limits{CPUs: 2, PIDs: 10}},
		{"egress is replaced as a whole", "extends: base\negress: {routes: [{host: own.example.com}]}", []string{"own.example.com"}, map[string]string{"A": "base", "B": "base"}, 2 * time.Hour, backend.Limits{CPUs: 2, PIDs: 10}},
		{"empty egress clears", "extends: base\negress: {}", nil, map[string]string{"A": "base", "B": "base"}, 2 * time.Hour, backend.Limits{CPUs: 2, PIDs: 10}},
		{"env merges, single values win", "extends: base\nenv: {B: own, C: own}\nttl: 1h\nresources: {pids: 5}", []string{"base.example.com"}, map[string]string{"A": "base", "B": "own", "C": "own"}, time.Hour, backend.Limits{CPUs: 2, PIDs: 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := home(t, map[string]string{
				"bottles/base.md": base, "bottles/middle.md": "---\nextends: base\n---\n",
				"bottles/child.md": "---\n" + strings.Replace(tt.child, "base", "middle", 1) + "\n---\n",
			})
			b, err := l.Bottle("child")
			if err != nil {
				t.Fatal(err)
			}
			env := map[string]string{}
			for k, v := range b.Env {
				env[k] = v.Literal
			}
			if got := hosts(b.Routes); !slices.Equal(got, tt.hosts) || !reflect.DeepEqual(env, tt.env) || b.TTL != tt.ttl || b.Limits != tt.limits || b.Backend != "linux" {
				t.Errorf("got hosts %v env %v ttl %s limits %+v backend %s", got, env, b.TTL, b.Limits, b.Backend)
			}
			parent, err := l.Bottle("base")
			if err != nil || parent.Env["B"].Literal != "base" {
				t.Errorf("the parent changed: %+v, %v", parent, err)
			}
		})
	}
}

func hosts(routes []Route) []string {
	var out []string
	for _, r := range routes {
		out = append(out, r.Host)
	}
	return out
}

func TestDefaultBottle(t *testing.T) {
	b, err := Loader{Home: filepath.Join(t.TempDir(), "absent")}.Bottle("default")
	if err != nil || len(b.Routes)+len(b.Env) != 0 || b.File != "" {
		t.Errorf("built-in bottle is %+v, %v", b, err)
	}
	l := home(t, map[string]string{"bottles/default.md": "---\nttl: 5m\n---\n"})
	if b, err = l.Bottle("default"); err != nil || b.TTL != 5*time.Minute {
		t.Errorf("the home's own default is ignored: %+v, %v", b, err)
	}
}

func TestNames(t *testing.T) {
	l := home(t, map[string]string{"bottles/ok.md": "---\n---\n", "bottles/Not Ok.md": "---\n---\n"})
	for _, name := range []string{"", "-x", "Up", "a/b", "../ok", "a.b", "a\x00", "a\n", "1a", strings.Repeat("a", 65)} {
		if _, err := l.Bottle(name); err == nil {
			t.Errorf("bottle %q was loaded", name)
		}
		if _, err := l.Agent(name, ""); err == nil {
			t.Errorf("agent %q was loaded", name)
		}
	}
	if got := l.Bottles(); !slices.Equal(got, []string{"default", "ok"}) {
		t.Errorf("bottles are %v", got)
	}
	if _, err := l.Bottle("absent"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "known bottles: default, ok") {
		t.Errorf("error is %v", err)
	}
}

func TestAgent(t *testing.T) {
	l := home(t, map[string]string{
		"agents/mine.md": "---\nname: mine\ndescription: d\nmodel: m\ncolor: red\nmemory: user\nbottle: work\n---\n\n  You are mine.\n\n",
		"agents/both.md": "---\nbottle: safe\n---\nhome's",
		"agents/bad.md":  "---\nskills: [/x]\nbotle: y\n---\n",
	})
	ws := t.TempDir()
	write(t, ws, map[string]string{
		".bot-bottle/agents/theirs.md": "---\n---\nfrom the repository",
		".bot-bottle/agents/both.md":   "---\nbottle: wide\n---\nrepository's",
		".bot-bottle/bottles/evil.md":  "---\n---\n",
	})
	tests := []struct{ name, ws, bottle, prompt, err string }{
		{"mine", "", "work", "You are mine.", ""},
		{"mine", ws, "work", "You are mine.", ""},
		{"theirs", ws, "", "from the repository", ""},
		{"both", ws, "safe", "home's", ""},
		{"theirs", "", "", "", "known agents: bad, both, mine"},
		{"absent", ws, "", "", "known agents: bad, both, mine, theirs"},
		{"bad", "", "", "", `did you mean "bottle"? allowed here: bottle, color, description, git-gate, memory, model, name, skills`},
		{"bad", "", "", "", `"/x" is not the name of a skill`},
	}
	for _, tt := range tests {
		a, err := l.Agent(tt.name, tt.ws)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("agent %s: error %v lacks %q", tt.name, err, tt.err)
			}
			continue
		}
		if err != nil || a.Bottle != tt.bottle || a.Prompt != tt.prompt {
			t.Errorf("agent %s is %+v, %v", tt.name, a, err)
		}
	}
	if w := l.Warnings(ws); len(w) != 2 || !strings.Contains(w[0], "bottles is ignored") || !strings.Contains(w[1], `"both"`) {
		t.Errorf("warnings are %q", w)
	}
	if b, err := l.Bottle("evil"); err == nil {
		t.Errorf("a workspace's bottle was loaded: %+v", b)
	}
}

// TestHostileWorkspace plants what a repository can: links out of it and files
// that never end.
func TestHostileWorkspace(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.md")
	if err := os.WriteFile(outside, []byte("---\n---\nsecret"), 0o600); err != nil {
		t.Fatal(err)
	}
	ws := t.TempDir()
	dir := filepath.Join(ws, ".bot-bottle", "agents")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.md")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.md"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dir.md"), 0o700); err != nil {
		t.Fatal(err)
	}
	l := Loader{Home: t.TempDir()}
	for name, want := range map[string]string{"link": "escapes", "pipe": "not a regular file", "dir": "not a regular file"} {
		if a, err := l.Agent(name, ws); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("agent %s: %+v, %v", name, a, err)
		}
	}
}

func TestUnreadable(t *testing.T) {
	l := home(t, map[string]string{"bottles/x.md/y": ""})
	var one *Error
	if _, err := l.Bottle("x"); !errors.As(err, &one) || one.Problem != "it is a directory, not a regular file" {
		t.Errorf("error is %v", err)
	}
}
