package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// goodHome makes a home of the good files.
func goodHome(t testing.TB) Loader {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/good")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", "/home/operator")
	return Loader{Home: dir}
}

// TestGood holds what each good file means, and where each value comes from,
// against its golden file.
func TestGood(t *testing.T) {
	l := goodHome(t)
	for _, c := range l.Check("") {
		t.Run(c.Kind+" "+c.Name, func(t *testing.T) {
			if c.Err != nil {
				t.Fatal(c.Err)
			}
			var values []Value
			if c.Bottle != nil {
				values = c.Bottle.Values()
			} else {
				values = c.Agent.Values()
			}
			var b strings.Builder
			for _, v := range values {
				file := strings.TrimPrefix(v.File, l.Home+"/")
				fmt.Fprintf(&b, "%s = %s  # %s:%d\n", v.Key, v.Text(), file, v.Line)
			}
			got := strings.ReplaceAll(b.String(), l.Home, "HOME")
			golden := filepath.Join("testdata/good", c.Kind+"s", c.Name+".values")
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
		})
	}
}

// TestEveryValueHasAnOrigin compares what a bottle holds with what it shows:
// a setting that Values forgets would not be seen by anybody.
func TestEveryValueHasAnOrigin(t *testing.T) {
	l := goodHome(t)
	for _, c := range l.Check("") {
		if c.Bottle == nil {
			continue
		}
		shown := map[string]bool{}
		for _, v := range c.Bottle.Values() {
			shown[v.Key] = true
			if v.File == "" || v.Line == 0 {
				t.Errorf("%s: %s has no origin", c.Name, v.Key)
			}
		}
		for key := range c.Bottle.Origins {
			if !shown[key] && !block(key, shown) {
				t.Errorf("%s: %s is declared and not shown", c.Name, key)
			}
		}
	}
}

// block reports whether a key is only the way to others, or empty.
func block(key string, shown map[string]bool) bool {
	for other := range shown {
		if strings.HasPrefix(other, key+".") || strings.HasPrefix(other, key+"[") {
			return true
		}
	}
	return key == "egress" || key == "git-gate" || key == "git-gate.repos"
}

// TestNoSecretIsRepeated puts a token in place of every scalar of every file,
// one at a time: whatever comes of it, no error repeats it.
func TestNoSecretIsRepeated(t *testing.T) {
	tokens := []string{
		"ghp_0123456789abcdefghijklmnopqrstuvwxyz", "sk-ant-api03-AbCdEf0123456789", "0123456789abcdef0123456789abcdef01234567",
		"AbCdEfGh0123456789ijklmnop", "https://user:hunter2hunter2@git.example.com/x", "glpat-AbCdEf0123456789",
	}
	tried := 0
	for _, dir := range []string{"testdata/good/bottles", "testdata/good/agents", "testdata/broken"} {
		files, err := filepath.Glob(dir + "/*.md")
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in %s: %v", dir, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range replaceScalars(string(data), "TOKEN") {
				token := tokens[i%len(tokens)]
				text = strings.Replace(text, "TOKEN", token, 1)
				if err := parseText(text, strings.HasSuffix(dir, "agents")); err != nil && strings.Contains(err.Error(), token) {
					t.Errorf("%s: the error repeats the token: %v", file, err)
				}
				tried++
			}
		}
	}
	if tried < 500 {
		t.Errorf("only %d files were tried", tried)
	}
}

func parseText(text string, agent bool) error {
	doc, err := split("x.md", []byte(text))
	if err != nil {
		return err
	}
	if agent {
		_, err = parseAgent("x", doc)
		return err
	}
	b, err := parseBottle("x", doc)
	if err != nil {
		return err
	}
	if problems := b.validate(); len(problems) > 0 {
		return problems
	}
	return nil
}

// replaceScalars gives one text for each word of the front matter, with the word
// replaced.
func replaceScalars(text, by string) []string {
	const inWord = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:$@"
	if len(text) > 2000 {
		return nil
	}
	var out []string
	for at := 0; at < len(text); {
		n := len(text[at:]) - len(strings.TrimLeft(text[at:], inWord))
		if word := text[at : at+n]; n > 0 && word != fence {
			keep := ""
			if strings.HasSuffix(word, ":") {
				keep = ":"
			}
			out = append(out, text[:at]+by+keep+text[at+n:])
		}
		at += max(n, 1)
	}
	return out
}
