package archive

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// gardener grows random trees.
type gardener struct {
	t     *testing.T
	rnd   *rand.Rand
	count backend.CopyReport
	files []string
}

var oddNames = []string{
	"plain", "with space", " lead", "-dash", "ümläut", "日本語", "new\nline", "quote'\"", "back\\slash",
	"star*", ".hidden", "tab\there", "bad\xff\xfeutf8", "PaxHeaders.0", strings.Repeat("long", 60), "…",
}

func (g *gardener) name(i int) string {
	return fmt.Sprintf("%s%d", oddNames[g.rnd.IntN(len(oddNames))], i)
}

func (g *gardener) grow(dir string, depth int) {
	for i := range 1 + g.rnd.IntN(8) {
		path := filepath.Join(dir, g.name(i))
		switch k := g.rnd.IntN(10); {
		case k < 3 && depth < 6:
			must(g.t, os.Mkdir(path, 0o755))
			g.count.Dirs++
			g.grow(path, depth+1)
			g.stamp(path, 0o700)
		case k == 3:
			must(g.t, os.Symlink(g.name(g.rnd.IntN(4)), path))
			g.count.Symlinks++
		case k == 4 && len(g.files) > 0:
			must(g.t, os.Link(g.files[g.rnd.IntN(len(g.files))], path))
			g.count.Files++
		default:
			g.file(path)
		}
	}
}

func (g *gardener) file(path string) {
	size := []int{0, 1, 511, 512, 513, 4096, smallFile - 1, smallFile, smallFile + 1, bufferSize - 1, bufferSize + 4097}[g.rnd.IntN(11)]
	data := make([]byte, size)
	if g.rnd.IntN(3) > 0 {
		for i := range data {
			data[i] = byte(g.rnd.Uint32())
		}
	}
	must(g.t, os.WriteFile(path, data, 0o600))
	g.stamp(path, 0o400)
	g.count.Files++
	g.count.Bytes += int64(size)
	g.files = append(g.files, path)
}

// stamp gives a random mode with at least the bits of atLeast, and a time with
// nanoseconds, before and after 1970.
func (g *gardener) stamp(path string, atLeast os.FileMode) {
	must(g.t, os.Chmod(path, os.FileMode(g.rnd.IntN(0o1000))|atLeast))
	when := time.Unix(g.rnd.Int64N(4_000_000_000)-1_000_000_000, g.rnd.Int64N(1e9))
	must(g.t, os.Chtimes(path, when, when))
}

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			src := t.TempDir()
			g := &gardener{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), count: newTally().report}
			g.grow(src, 0)
			g.stamp(src, 0o700)

			data, sent := packed(t, src, ".", PackOptions{})
			a := newArena(t)
			got, err := a.unpack(data, UnpackOptions{RootMeta: true})
			must(t, err)
			a.intact()
			if want, have := snapshot(t, src), snapshot(t, a.dst); want != have {
				t.Errorf("trees differ:\nwant:\n%sgot:\n%s", want, have)
			}
			for side, report := range map[string]backend.CopyReport{"pack": sent, "unpack": got} {
				// Hard links are files that bring no bytes on either side.
				if fmt.Sprint(report) != fmt.Sprint(g.count) {
					t.Errorf("%s reports %+v, want %+v", side, report, g.count)
				}
			}
			again, _ := packed(t, a.dst, ".", PackOptions{})
			if string(again) != string(data) {
				t.Error("packing the copy gives a different stream")
			}
		})
	}
}

func TestPackNames(t *testing.T) {
	top := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(top, "a", "b", "c"), 0o755))
	must(t, os.WriteFile(filepath.Join(top, "a", "b", "f.txt"), []byte("hello"), 0o640))
	must(t, os.Symlink("b", filepath.Join(top, "a", "l")))
	tests := map[string]string{
		".":           "./ a/ a/b/ a/b/c/ a/b/f.txt a/l",
		"a":           "./ b/ b/c/ b/f.txt l",
		"a/b/":        "./ c/ f.txt",
		"a/b/c":       "./",
		"a/b/f.txt":   "f.txt",
		"a/l":         "l",
		"a/l/f.txt":   "f.txt",
		"./a/b/../b/": "./ c/ f.txt",
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			data, _ := packed(t, top, name, PackOptions{})
			if got := strings.Join(names(t, data), " "); got != want {
				t.Errorf("entries %q, want %q", got, want)
			}
		})
	}
}

func TestPackRefusesToLeaveItsRoot(t *testing.T) {
	top := t.TempDir()
	must(t, os.Mkdir(filepath.Join(top, "in"), 0o755))
	must(t, os.WriteFile(filepath.Join(top, "secret"), []byte("s"), 0o644))
	must(t, os.Symlink("..", filepath.Join(top, "in", "up")))
	root := openRoot(t, filepath.Join(top, "in"))
	for _, name := range []string{"..", "../secret", "/", "/etc/passwd", "up/secret", "", "absent", "x/../../secret"} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if _, err := Pack(t.Context(), &out, Source{Root: root, Name: name}, PackOptions{}); err == nil && name != "" {
				t.Errorf("packed %q", name)
			}
			if strings.Contains(out.String(), "secret") {
				t.Error("the stream holds the secret")
			}
		})
	}
}

func TestExclude(t *testing.T) {
	top := t.TempDir()
	for _, f := range []string{"node_modules/x", "src/a.go", "src/a.o", "src/node_modules/y", "doc/a.o"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(top, f)), 0o755))
		must(t, os.WriteFile(filepath.Join(top, f), nil, 0o644))
	}
	tests := map[string]struct {
		exclude []string
		want    string
	}{
		"nothing":   {nil, "./ doc/ doc/a.o node_modules/ node_modules/x src/ src/a.go src/a.o src/node_modules/ src/node_modules/y"},
		"base name": {[]string{"node_modules"}, "./ doc/ doc/a.o src/ src/a.go src/a.o"},
		"path":      {[]string{"src/*.o", "node_modules"}, "./ doc/ doc/a.o src/ src/a.go"},
		"several":   {[]string{"*.o", "node_*"}, "./ doc/ src/ src/a.go"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			data, report := packed(t, top, ".", PackOptions{Exclude: tt.exclude})
			if got := strings.Join(names(t, data), " "); got != tt.want {
				t.Errorf("entries %q, want %q", got, tt.want)
			}
			if len(report.Skipped) != 0 {
				t.Errorf("exclusions are reported: %s", reasons(report))
			}
		})
	}
	_, err := Pack(t.Context(), &strings.Builder{}, Source{Root: openRoot(t, top), Name: "."}, PackOptions{Exclude: []string{"[x"}})
	if err == nil || !strings.Contains(err.Error(), `"[x"`) {
		t.Errorf("a malformed pattern gives %v", err)
	}
}
