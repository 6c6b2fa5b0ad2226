package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/cmd/bottle-mcp/agenthost"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// TestGoRunIsNotInstalled uses that a test is built as 'go run' builds: its
// program is gone afterwards.
func TestGoRunIsNotInstalled(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	c := newFakeCLI(t, newFake())
	err := c.mcpInstall(context.Background(), mcpOptions{scope: "user", name: "bottle"}, "claude")
	if exitCode(err) != exitFailed || !strings.Contains(err.Error(), "go run") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(os.Getenv("HOME")); err != nil || len(left) > 0 {
		t.Errorf("%v, %v is written", err, left)
	}
}

func TestHostVariables(t *testing.T) {
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "bottles"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a":      "egress:\n  routes:\n    - {host: a.example, auth: {scheme: Bearer, token_ref: A_TOKEN}}\n    - host: b.example\nenv: {TZ: \"${TZ}\", CI: \"true\", TICKET: \"?\"}\n",
		"b":      "env: {LANG: \"${TZ}\"}\n",
		"broken": "egres: {}\n",
	} {
		if err := os.WriteFile(filepath.Join(home, "bottles", name+".md"), []byte("---\n"+text+"---\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := hostVariables(manifest.Loader{Home: home}), []string{"A_TOKEN", "TZ"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestMCPListNamesEveryHost(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Chdir(t.TempDir())
	if err := os.WriteFile(".mcp.json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newFakeCLI(t, newFake())
	if err := c.mcpList(true); err != nil {
		t.Fatal(err)
	}
	var listed []listedHost
	if err := json.Unmarshal(c.out.Bytes(), &listed); err != nil {
		t.Fatal(err)
	}
	for _, name := range agenthost.Names() {
		if !slices.ContainsFunc(listed, func(l listedHost) bool { return l.Host == name && l.File != "" }) {
			t.Errorf("no %s", name)
		}
	}
	i := slices.IndexFunc(listed, func(l listedHost) bool { return l.Problem != "" })
	if i < 0 || listed[i].Host != "claude" || listed[i].Scope != agenthost.Project || !listed[i].Exists {
		t.Errorf("the broken file: %+v", listed)
	}
}
