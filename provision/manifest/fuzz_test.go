package manifest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzBottle checks that any bytes give either a bottle whose every part is
// valid, or an error that names the file.
func FuzzBottle(f *testing.F) {
	for _, pattern := range []string{"testdata/good/bottles/*.md", "testdata/broken/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := split("x.md", data)
		var b *Bottle
		if err == nil {
			b, err = parseBottle("x", doc)
		}
		if err != nil {
			var one *Error
			if !errors.As(err, &one) || one.File != "x.md" || one.Problem == "" {
				t.Fatalf("error %v does not name the file and the problem", err)
			}
			return
		}
		for _, r := range b.Routes {
			if err := CheckHost(r.Host); err != nil {
				t.Errorf("host %q was accepted: %v", r.Host, err)
			}
			if r.Auth != nil && (!ValidEnvName(r.Auth.TokenRef) || r.Auth.Scheme == "") {
				t.Errorf("auth %+v was accepted", r.Auth)
			}
		}
		for name := range b.Env {
			if !ValidEnvName(name) {
				t.Errorf("variable %q was accepted", name)
			}
		}
		if b.TTL < 0 || b.TTL > MaxTTL || b.Limits.PIDs < 0 || b.Limits.MemoryBytes < 0 || b.Limits.CPUs < 0 {
			t.Errorf("bounds %s %+v were accepted", b.TTL, b.Limits)
		}
	})
}
