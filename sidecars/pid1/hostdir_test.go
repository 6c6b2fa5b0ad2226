package pid1

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

func sample() (sidecars.Config, sidecars.Secrets) {
	return sidecars.Config{Bottle: "otter", CACert: "CERT", Routes: []sidecars.Route{{Host: "a.test"}}},
		sidecars.Secrets{CAKey: secret.New("KEY"), Tokens: map[string]secret.Value{"T_0": secret.New("one"), "T_1": secret.New("two")}}
}

// layout lists what is below dir, with its mode and, for files, content.
func layout(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		out[name] = info.Mode().String()
		if err == nil && info.Mode().IsRegular() {
			data, rerr := os.ReadFile(path)
			out[name], err = out[name]+" "+string(data), rerr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWriteConfig(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "config")
	cfg, secrets := sample()
	if err := WriteConfig(dir, cfg, secrets, []byte("ROOTS")); err != nil {
		t.Fatal(err)
	}
	routes := "{\n  \"bottle\": \"otter\",\n  \"routes\": [\n    {\n      \"host\": \"a.test\"\n    }\n  ]\n}\n"
	want := map[string]string{
		".": "drwx------", "ca": "drwx------", "tokens": "drwx------", "log": "drwx------",
		"ca/ca.pem": "-rw------- CERT", "ca/ca.key": "-rw------- KEY",
		"tokens/T_0": "-rw------- one", "tokens/T_1": "-rw------- two",
		"roots.pem": "-rw------- ROOTS", "routes.json": "-rw------- " + routes,
	}
	same := func(want map[string]string) {
		t.Helper()
		got := layout(t, dir)
		for name := range got {
			if _, ok := want[name]; !ok {
				t.Errorf("%s is there: %q", name, got[name])
			}
		}
		for name, text := range want {
			if got[name] != text {
				t.Errorf("%s = %q, want %q", name, got[name], text)
			}
		}
	}
	same(want)

	if err := RemoveSecrets(dir); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"ca/ca.key", "tokens/T_0", "tokens/T_1"} {
		delete(want, gone)
	}
	same(want)
	if err := RemoveSecrets(dir); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if err := RemoveSecrets(filepath.Join(dir, "nothing")); err != nil {
		t.Errorf("no directory: %v", err)
	}

	// What comes before a reload. An interrupted writer's file is no obstacle.
	if err := os.WriteFile(filepath.Join(dir, "routes.json.new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	next := sidecars.Secrets{Tokens: map[string]secret.Value{"T_2": secret.New("three")}}
	if err := WriteConfig(dir, sidecars.Config{Bottle: "otter"}, next, nil); err != nil {
		t.Fatal(err)
	}
	want["tokens/T_2"] = "-rw------- three"
	want["routes.json"] = "-rw------- {\n  \"bottle\": \"otter\",\n  \"routes\": []\n}\n"
	same(want)
}

func TestWriteConfigRefuses(t *testing.T) {
	cfg, secrets := sample()
	tests := []struct {
		name    string
		prepare func(dir string) error
		slot    string
	}{
		{"a slot that leads elsewhere", nil, "../routes.json"},
		{"a slot without a name", nil, ""},
		{"a slot that is hidden", nil, ".x"},
		{"a file for a directory", func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca"), nil, 0o600) }, "T"},
		{"a link for a directory", func(dir string) error { return os.Symlink(t.TempDir(), filepath.Join(dir, "tokens")) }, "T"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.prepare != nil {
				if err := tt.prepare(dir); err != nil {
					t.Fatal(err)
				}
			}
			secrets.Tokens = map[string]secret.Value{tt.slot: secret.New("the-token")}
			err := WriteConfig(dir, cfg, secrets, nil)
			if err == nil || strings.Contains(err.Error(), "the-token") {
				t.Errorf("WriteConfig = %v, want an error without the token", err)
			}
			if _, err := os.Stat(filepath.Join(dir, sidecars.ConfigFile)); err == nil {
				t.Error("the configuration is there, as if all were well")
			}
		})
	}
}

// TestRemoveSecretsFollowsNoLink removes links and not what they lead to.
func TestRemoveSecretsFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	cfg, secrets := sample()
	if err := WriteConfig(dir, cfg, secrets, nil); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, sidecars.TokensDir, "T_9")
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	if err := RemoveSecrets(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(link); err == nil {
		t.Error("the link is still there")
	}
	if data, err := os.ReadFile(victim); err != nil || string(data) != "mine" {
		t.Errorf("what it led to: %q, %v", data, err)
	}
}

// TestBottlesToken has the sidecar's own token written and removed like the
// others, under a name that no slot can have.
func TestBottlesToken(t *testing.T) {
	dir := t.TempDir()
	cfg, secrets := sample()
	secrets.BottlesToken = secret.New("of the bottle")
	if err := WriteConfig(dir, cfg, secrets, nil); err != nil {
		t.Fatal(err)
	}
	name := "tokens/" + sidecars.BottlesTokenFile
	if got := layout(t, dir)[name]; got != "-rw------- of the bottle" {
		t.Errorf("%s: %q", name, got)
	}
	if err := RemoveSecrets(dir); err != nil {
		t.Fatal(err)
	}
	if got, ok := layout(t, dir)[name]; ok {
		t.Errorf("%s stays: %q", name, got)
	}
	secrets.Tokens[sidecars.BottlesTokenFile] = secret.New("x")
	if err := WriteConfig(dir, cfg, secrets, nil); err == nil {
		t.Error("a slot has the name of the sidecar's own token")
	}
}
