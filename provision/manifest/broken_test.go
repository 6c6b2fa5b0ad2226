package manifest

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/broken/*.err")

// brokenHome makes a home whose bottles are the broken files.
func brokenHome(t *testing.T) (Loader, []string) {
	t.Helper()
	files, err := filepath.Glob("testdata/broken/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no broken files: %v", err)
	}
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "bottles"), 0o700); err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, "bottles", filepath.Base(file)), data, 0o600); err != nil {
			t.Fatal(err)
		}
		found = append(found, strings.TrimSuffix(filepath.Base(file), ".md"))
	}
	return Loader{Home: home}, found
}

// TestBroken holds the exact text of every refusal against its golden file.
func TestBroken(t *testing.T) {
	l, files := brokenHome(t)
	for _, name := range files {
		t.Run(name, func(t *testing.T) {
			b, err := l.Bottle(name)
			if err == nil {
				t.Fatalf("the broken file was accepted as %+v", b)
			}
			var one *Error
			if !errors.As(err, &one) {
				t.Fatalf("error %v holds no *Error", err)
			}
			got := strings.ReplaceAll(err.Error(), l.Home+"/", "") + "\n"
			golden := filepath.Join("testdata/broken", name+".err")
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
			if strings.Contains(got, "very-secret") {
				t.Error("the error repeats what may be a token")
			}
		})
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
