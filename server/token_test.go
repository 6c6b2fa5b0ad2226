package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

func TestCreateToken(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "bottle-mcp")
	first, path, err := CreateToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		path string
		mode os.FileMode
	}{{path, 0o600}, {dir, 0o700}} {
		if info, err := os.Stat(p.path); err != nil || info.Mode().Perm() != p.mode {
			t.Errorf("%s: mode %v, %v", p.path, info.Mode(), err)
		}
	}
	if len(first.Reveal()) < 43 {
		t.Errorf("the token has %d characters", len(first.Reveal()))
	}
	again, _, err := CreateToken(dir)
	if err != nil || again.Reveal() != first.Reveal() {
		t.Errorf("a second start has another token (%v)", err)
	}
	other, _, err := CreateToken(t.TempDir())
	if err != nil || other.Reveal() == first.Reveal() {
		t.Errorf("another directory has the same token (%v)", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCreateTokenAtOnce(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	tokens := make([]secret.Value, 20)
	for i := range tokens {
		all.Go(func() {
			var err error
			if tokens[i], _, err = CreateToken(dir); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, token := range tokens {
		if token.Reveal() != tokens[0].Reveal() {
			t.Fatal("servers that start at once have different tokens")
		}
	}
}

func TestLoadToken(t *testing.T) {
	const good = "0123456789abcdef0123456789abcdef"
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		want    string // "" = loads
	}{
		"good":              {good, 0o600, ""},
		"read-only":         {good, 0o400, ""},
		"with line break":   {" " + good + "\r\n", 0o600, ""},
		"group may read":    {good, 0o640, "mode 0640"},
		"all may read":      {good, 0o644, "chmod 600"},
		"others may write":  {good, 0o602, "mode 0602"},
		"empty":             {"", 0o600, "must hold one token"},
		"short":             {"0123456789", 0o600, "must hold one token"},
		"long":              {strings.Repeat("x", maxToken+1), 0o600, "must hold one token"},
		"two lines":         {good + "\n" + good, 0o600, "must hold one token"},
		"not for a header":  {good + "é", 0o600, "must hold one token"},
		"control character": {good + "\x01", 0o600, "must hold one token"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			token, err := LoadToken(path)
			if c.want == "" {
				if err != nil || token.Reveal() != good {
					t.Errorf("token of %d characters, %v", len(token.Reveal()), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if len(c.content) > 0 && strings.Contains(fmt.Sprint(err), c.content) {
				t.Error("the error holds the token")
			}
		})
	}
	for name, path := range map[string]string{"directory": t.TempDir(), "none": filepath.Join(t.TempDir(), "none")} {
		if _, err := LoadToken(path); err == nil {
			t.Errorf("%s: a token", name)
		}
	}
}
