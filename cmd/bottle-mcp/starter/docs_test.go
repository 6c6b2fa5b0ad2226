package starter

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// update writes the starters that come from the table:
//
//	go test ./cmd/bottle-mcp/starter -run TestStarters -update
var update = flag.Bool("update", false, "rewrite those of docs/starters that init writes")

// startersDir holds the starter bottles of the documentation.
func startersDir() string { return filepath.Join("..", "..", "..", "docs", "starters") }

// TestStartersAreCurrent holds the starters of projects to what init writes, so
// that the table stays the only place that knows package hosts.
func TestStartersAreCurrent(t *testing.T) {
	for name, marker := range map[string]string{"npm": "package.json", "go": "go.mod", "python": "pyproject.toml"} {
		p := detect(t, project(t, map[string]string{marker: ""}))
		file, want := filepath.Join(startersDir(), name+".md"), p.Bottle(name)
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s is stale (%v): run\n\tgo test ./cmd/bottle-mcp/starter -run TestStarters -update", file, err)
		}
	}
}

// TestStartersLoad copies every starter to a home and loads it there.
func TestStartersLoad(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(startersDir(), "*.md"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".md")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !manifest.ValidName(name) {
				t.Error("it could not be chosen by this name")
			}
			b := load(t, string(text))
			if refused := provision.Unsupported(b, nil); len(refused) > 0 {
				t.Errorf("a launch would be refused: %v", refused)
			}
			if name == "no-network" && len(b.Routes) > 0 {
				t.Errorf("routes %+v", b.Routes)
			}
			for _, r := range b.Routes {
				if len(r.Matches) == 0 || slices.ContainsFunc(r.Matches[0].Methods, func(m string) bool { return m != "GET" && m != "HEAD" }) {
					t.Errorf("%s allows more than reading", r.Host)
				}
			}
		})
	}
}
