package manifest

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/broken*/*.err and testdata/good/*/*.values")

// brokenHome makes a home of the broken files.
func brokenHome(t testing.TB) Loader {
	t.Helper()
	dir := t.TempDir()
	for from, to := range map[string]string{"testdata/broken": bottlesDir, "testdata/broken-agents": agentsDir} {
		if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	return Loader{Home: dir}
}

// knownNames are those of the whole corpus, which grows.
var knownNames = regexp.MustCompile(`known bottles: .*`)

// TestBroken holds the exact text of every refusal against its golden file.
func TestBroken(t *testing.T) {
	l := brokenHome(t)
	kinds := []struct {
		dir   string
		names []string
		load  func(string) error
	}{
		{"testdata/broken", l.Bottles(), func(name string) error { _, err := l.Bottle(name); return err }},
		{"testdata/broken-agents", l.Agents(""), func(name string) error { _, err := l.Agent(name, ""); return err }},
	}
	cases := 0
	for _, kind := range kinds {
		for _, name := range kind.names {
			if name == DefaultBottle {
				continue
			}
			golden := filepath.Join(kind.dir, name+".err")
			t.Run(name, func(t *testing.T) { refused(t, l, golden, kind.load(name)) })
			cases++
		}
	}
	if cases < 120 {
		t.Errorf("only %d cases", cases)
	}
}

// whole are files of the corpus that are right by themselves: the parents of
// others.
var whole = []string{"routes-left", "routes-right", "budgets-left", "budgets-right"}

func refused(t *testing.T, l Loader, golden string, err error) {
	t.Helper()
	if name := strings.TrimSuffix(filepath.Base(golden), ".err"); slices.Contains(whole, name) {
		if err != nil {
			t.Errorf("the parent of a case is broken itself: %v", err)
		}
		return
	}
	if err == nil {
		t.Fatal("the broken file was accepted")
	}
	var one *Error
	if !errors.As(err, &one) {
		t.Fatalf("error %v holds no *Error", err)
	}
	got := strings.ReplaceAll(err.Error(), l.Home+"/", "") + "\n"
	got = knownNames.ReplaceAllString(got, "known bottles: …")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	for _, secret := range []string{"very-secret", "ghp_0123", "deadbeef", "eyJhb", "0123456789abcdef"} {
		if strings.Contains(got, secret) {
			t.Error("the error repeats what may be a token")
		}
	}
}

// TestGoldens finds expectations of cases that are gone.
func TestGoldens(t *testing.T) {
	for _, dir := range []string{"testdata/broken", "testdata/broken-agents"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.err"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if _, err := os.Stat(strings.TrimSuffix(file, ".err") + ".md"); err != nil {
				t.Errorf("%s belongs to no case", file)
			}
		}
	}
}

func TestBounds(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"file", "---\n---\n" + strings.Repeat("x", maxFile), "big.md: it is larger than 1048576 bytes"},
		{"front matter", "---\n" + strings.Repeat("#\n", maxFront/2+1) + "---\n", "big.md:1: the front matter is larger than 65536 bytes"},
		{"problems", "---\nenv:\n" + strings.Repeat("  1: x\n", 500) + "---\n", "big.md:53: env: there are more problems from here on"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := home(t, map[string]string{"bottles/big.md": tt.text})
			_, err := l.Bottle("big")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error is %v", err)
			}
			if n := strings.Count(err.Error(), "\n"); n > maxProblems {
				t.Errorf("%d problems are told", n+1)
			}
		})
	}
}
