package provider

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite testdata/golden")

// now is the time of all tests.
var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func load(t testing.TB, name string) *Provider {
	t.Helper()
	p, err := Loader{Home: t.TempDir()}.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGolden holds what every built-in provider comes to, with each login that
// it has, against its golden file.
func TestGolden(t *testing.T) {
	if got := BuiltIn(); !slices.Equal(got, []string{"claude", "codex", "generic", "pi"}) {
		t.Fatalf("built in are %q", got)
	}
	full := Settings{
		Label: `a "label" \ with {{home}}`, Colour: "cyan", Workspace: "/home/agent/workspace",
		SystemPrompt: true, SuperviseURL: "http://127.0.0.1:9100/mcp", BottlesURL: "http://127.0.0.1:9101/mcp",
	}
	for _, name := range BuiltIn() {
		p := load(t, name)
		cases := map[string]Settings{"bare": {}, "full": full}
		if p.AuthToken != nil {
			s := full
			s.AuthToken = "HOST_VARIABLE"
			cases["token"] = s
		}
		if p.HostLogin != nil {
			s := full
			s.ForwardHostCredentials, s.HostLogin = true, hostLogin(t, p.HostLogin.Format)
			cases["login"] = s
		}
		for kind, s := range cases {
			t.Run(name+"-"+kind, func(t *testing.T) { golden(t, name+"-"+kind, p, s) })
		}
	}
}

func golden(t *testing.T, name string, p *Provider, s Settings) {
	r, err := Resolve(p, s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	again, err := Resolve(p, s)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := json.MarshalIndent(again, "", "  "); string(text)+"\n" != string(got) {
		t.Error("a second time it is something else")
	}
	file := filepath.Join("testdata", "golden", name+".json")
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, token := range []string{claudeToken, codexToken(t), refreshToken} {
		if strings.Contains(string(got), token) {
			t.Error("a credential is in what the guest gets")
		}
	}
	for _, f := range r.Files {
		if strings.HasSuffix(f.Path, ".json") && !json.Valid([]byte(f.Content)) {
			t.Errorf("%s is no JSON:\n%s", f.Path, f.Content)
		}
	}
}

// TestBuiltInsAreComplete keeps promises that goldens alone would let slip.
func TestBuiltInsAreComplete(t *testing.T) {
	for _, name := range BuiltIn() {
		t.Run(name, func(t *testing.T) {
			p := load(t, name)
			if p.Description == "" || p.Prompt.File == "" || p.Skills == "" || len(p.Interactive.Argv) == 0 {
				t.Errorf("it lacks a description, a prompt, skills or a command: %+v", p)
			}
			if name == Generic {
				return
			}
			if p.Program.Install == "" || p.Interactive.Argv[0] != p.Program.Name || p.Headless.Argv[0] != p.Program.Name {
				t.Errorf("program %+v does not go with its commands", p.Program)
			}
			if !strings.Contains(p.Dockerfile, strings.TrimPrefix(p.Program.Install, "npm install -g ")) {
				t.Errorf("the Dockerfile does not install what %q does", p.Program.Install)
			}
		})
	}
}
