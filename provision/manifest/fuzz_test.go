package manifest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// seeds are all files of the corpus.
func seeds(f *testing.F, patterns ...string) [][]byte {
	f.Helper()
	var out [][]byte
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			out = append(out, data)
		}
	}
	return out
}

// FuzzLoad checks that any bytes give either a bottle or agent whose every part
// is valid, or an error that names the file.
func FuzzLoad(f *testing.F) {
	for _, data := range seeds(f, "testdata/good/*/*.md", "testdata/broken*/*.md") {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := split("x.md", data)
		if err != nil {
			wellFormed(t, err)
			return
		}
		if a, err := parseAgent("x", doc); err != nil {
			wellFormed(t, err)
		} else {
			for _, name := range a.Skills {
				if !skillName.MatchString(name) {
					t.Errorf("skill %q was accepted", name)
				}
			}
		}
		sameJudgement(t, doc.front)
		b, err := parseBottle("x", doc)
		if err != nil {
			wellFormed(t, err)
			return
		}
		if problems := b.validate(); len(problems) > 0 {
			wellFormed(t, problems)
			return
		}
		sound(t, b)
	})
}

// sameJudgement checks that the short way to see a plain file misses nothing.
func sameJudgement(t *testing.T, front []byte) {
	t.Helper()
	var node yaml.Node
	if blank(front) || yaml.Load(front, &node) != nil || !plain(node.Content[0], 0) {
		return
	}
	p := newParser("x.md")
	p.checkTree(at{"", node.Content[0]}, 0)
	if len(p.problems) > 0 {
		t.Errorf("the short way misses %v", p.problems)
	}
}

func wellFormed(t *testing.T, err error) {
	t.Helper()
	var one *Error
	if !errors.As(err, &one) || one.File != "x.md" || one.Problem == "" {
		t.Fatalf("error %v does not name the file and the problem", err)
	}
}

// sound checks what every loaded or merged bottle keeps to.
func sound(t *testing.T, b *Bottle) {
	t.Helper()
	for _, r := range b.Routes {
		if err := CheckHost(r.Host); err != nil {
			t.Errorf("host %q was accepted: %v", r.Host, err)
		}
		if r.Auth != nil && (!ValidEnvName(r.Auth.TokenRef) || r.Auth.Scheme == "") {
			t.Errorf("auth %+v was accepted", r.Auth)
		}
	}
	for name, v := range b.Env {
		if !ValidEnvName(name) || v.FromHost != "" && !ValidEnvName(v.FromHost) {
			t.Errorf("variable %q, %+v was accepted", name, v)
		}
	}
	for name, r := range b.Repos {
		if !repoName.MatchString(name) || CheckSSHURL(r.URL) != nil || r.Key.Provider != KeyStatic && r.Key.Provider != KeyGitea {
			t.Errorf("repository %q, %+v was accepted", name, r)
		}
	}
	if b.Image.Reference != "" && b.Image.Dockerfile != "" || b.Provider.AuthToken != "" && b.Provider.ForwardHostCredentials {
		t.Errorf("what excludes itself was accepted: %+v, %+v", b.Image, b.Provider)
	}
	if b.TTL < 0 || b.TTL > MaxTTL || b.Limits.PIDs < 0 || b.Limits.MemoryBytes < 0 || b.Limits.CPUs < 0 || b.SubBottles.Max > maxSubBottles {
		t.Errorf("bounds %s %+v %+v were accepted", b.TTL, b.Limits, b.SubBottles)
	}
	for _, v := range b.Values() {
		if v.File == "" || v.Line < 1 || strings.ContainsAny(v.Key, "\n\x00") {
			t.Errorf("%q comes from %v", v.Key, v.Origin)
		}
	}
}

// FuzzMerge joins any three bottles in every way that there is: it never fails
// but with a reason, and what comes out is as sound as what went in.
func FuzzMerge(f *testing.F) {
	good := seeds(f, "testdata/good/bottles/*.md")
	for i := range good {
		f.Add(good[i], good[(i+1)%len(good)], good[(i+3)%len(good)])
	}
	for _, text := range mergeFiles() {
		f.Add([]byte(text), []byte(mergeFiles()["bottles/a.md"]), []byte(mergeFiles()["bottles/b.md"]))
	}
	f.Fuzz(func(t *testing.T, one, two, three []byte) {
		var bottles []*Bottle
		for _, data := range [][]byte{one, two, three} {
			doc, err := split("x.md", data)
			if err != nil {
				return
			}
			b, err := parseBottle("x", doc)
			if err != nil || len(b.validate()) > 0 {
				return
			}
			bottles = append(bottles, b)
		}
		before := outcome(bottles[0])
		if m, err := Merge(bottles); err != nil {
			wellFormed(t, err)
		} else {
			sound(t, m)
			notWider(t, m, bottles)
		}
		joined, problems := lay(bottles[0], bottles[1], true)
		if len(problems) > 0 {
			wellFormed(t, problems)
			return
		}
		child, problems := lay(joined, bottles[2], false)
		if len(problems) > 0 {
			t.Fatalf("a child cannot be laid over its parents: %v", problems)
		}
		if len(child.validate()) == 0 {
			sound(t, child)
		}
		if outcome(bottles[0]) != before {
			t.Error("a parent changed")
		}
	})
}

// notWider checks that a merged bottle allows nothing that none of them allows.
func notWider(t *testing.T, m *Bottle, from []*Bottle) {
	t.Helper()
	for _, r := range m.Routes {
		found := false
		for _, b := range from {
			for _, own := range b.Routes {
				found = found || own.Equal(r)
			}
		}
		if !found {
			t.Errorf("route %+v is nobody's", r)
		}
	}
	for _, b := range from {
		if b.TTL != 0 && m.TTL > b.TTL || b.Limits.PIDs != 0 && m.Limits.PIDs > b.Limits.PIDs {
			t.Errorf("bounds %s, %+v are wider than %s, %+v", m.TTL, m.Limits, b.TTL, b.Limits)
		}
	}
}
