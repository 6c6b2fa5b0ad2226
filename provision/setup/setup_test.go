package setup

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// run brings files below root through both halves.
func run(t *testing.T, root string, files ...File) []Outcome {
	t.Helper()
	input, err := Encode(files)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := GuestMainAt(root, bytes.NewReader(input), &out); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	outcomes, err := Decode(out.Bytes(), files)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestBring(t *testing.T) {
	const want = "[a]\nx = 1\n"
	tests := []struct {
		name  string
		how   How
		old   string // "" = nothing is there
		state State
		after string // "" = nothing is there
	}{
		{"create", Create, "", Written, want},
		{"create again", Create, want, Present, want},
		{"create, other", Create, "image's\n", Left, "image's\n"},
		{"create, part of another", Create, "more\n" + want, Left, "more\n" + want},
		{"replace", Replace, "", Written, want},
		{"replace, other", Replace, "old\n", Written, want},
		{"replace again", Replace, want, Present, want},
		{"append", Append, "", Written, want},
		{"append again", Append, want, Present, want},
		{"append, other", Append, "image's\n", Merged, "image's\n" + want},
		{"append, no newline", Append, "image's", Merged, "image's\n" + want},
		{"append, within", Append, want + "later\n", Present, want + "later\n"},
		{"extend nothing", Extend, "", Absent, ""},
		{"extend", Extend, "image's\n", Merged, "image's\n" + want},
		{"extend again", Extend, "image's\n" + want, Present, "image's\n" + want},
		{"check nothing", Check, "", Absent, ""},
		{"check other", Check, "image's\n", Left, "image's\n"},
		{"check", Check, want, Present, want},
		{"check within", Check, "a\n" + want + "b\n", Present, "a\n" + want + "b\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, "home/agent/.config/a/b.conf")
			if tt.old != "" {
				put(t, path, tt.old)
			}
			file := File{Path: "/home/agent/.config/a/b.conf", Content: []byte(want), How: tt.how}
			got := run(t, root, file)[0]
			if got.State != tt.state || (got.Detail == "") != got.InPlace() {
				t.Errorf("outcome is %+v", got)
			}
			after, err := os.ReadFile(path)
			if string(after) != tt.after || (err != nil) != (tt.after == "") {
				t.Errorf("it holds %q, %v", after, err)
			}
			if again := run(t, root, file)[0]; got.InPlace() && again.State != Present {
				t.Errorf("the second time it is %+v", again)
			}
			if twice, _ := os.ReadFile(path); !bytes.Equal(twice, after) {
				t.Errorf("the second time it holds %q", twice)
			}
			if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// TestOdd: what an image can have in the place of a file.
func TestOdd(t *testing.T) {
	tests := []struct {
		name  string
		make  func(path string) error
		how   How
		state State
	}{
		{"directory", func(p string) error { return os.Mkdir(p, 0o755) }, Append, Left},
		{"directory, replaced", func(p string) error { return os.Mkdir(p, 0o755) }, Replace, Left},
		{"pipe", func(p string) error { return syscall.Mkfifo(p, 0o644) }, Append, Left},
		{"link to nowhere", func(p string) error { return os.Symlink("nowhere", p) }, Create, Left},
		{"link to itself", func(p string) error { return os.Symlink(filepath.Base(p), p) }, Create, Failed},
		{"device", func(p string) error { return os.Symlink("/dev/null", p) }, Append, Left},
		{"huge", func(p string) error {
			return os.WriteFile(p, make([]byte, maxExisting+1), 0o644)
		}, Append, Left},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			if err := tt.make(filepath.Join(root, "f")); err != nil {
				t.Fatal(err)
			}
			got := run(t, root, File{Path: "/f", Content: []byte("x"), How: tt.how})[0]
			if got.State != tt.state || got.Detail == "" {
				t.Errorf("outcome is %+v", got)
			}
		})
	}
	t.Run("link to a file of the user's", func(t *testing.T) {
		root := t.TempDir()
		put(t, filepath.Join(root, "dotfiles/rc"), "theirs\n")
		if err := os.Symlink("dotfiles/rc", filepath.Join(root, "rc")); err != nil {
			t.Fatal(err)
		}
		if got := run(t, root, File{Path: "/rc", Content: []byte("ours\n"), How: Append})[0]; got.State != Merged {
			t.Errorf("outcome is %+v", got)
		}
		if data, _ := os.ReadFile(filepath.Join(root, "dotfiles/rc")); string(data) != "theirs\nours\n" {
			t.Errorf("it holds %q", data)
		}
	})
	t.Run("parent is a file", func(t *testing.T) {
		root := t.TempDir()
		put(t, filepath.Join(root, "a"), "x")
		if got := run(t, root, File{Path: "/a/b", Content: []byte("x"), How: Create})[0]; got.State != Failed {
			t.Errorf("outcome is %+v", got)
		}
	})
}

func TestMode(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	root := t.TempDir()
	run(t, root, File{Path: "/f", Content: []byte("x"), How: Create})
	info, err := os.Stat(filepath.Join(root, "f"))
	if err != nil || info.Mode().Perm() != fileMode {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	ok := File{Path: "/a", Content: []byte("x"), How: Create}
	for name, files := range map[string][]File{
		"relative":   {{Path: "a", Content: []byte("x"), How: Create}},
		"not clean":  {{Path: "/a/../b", Content: []byte("x"), How: Create}},
		"NUL":        {{Path: "/a\x00", Content: []byte("x"), How: Create}},
		"no content": {{Path: "/a", How: Create}},
		"no way":     {{Path: "/a", Content: []byte("x")}},
		"twice":      {ok, ok},
		"too many":   make([]File, maxFiles+1),
		"too large":  {{Path: "/a", Content: make([]byte, maxSpec), How: Create}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Encode(files); err == nil {
				t.Error("it was accepted")
			}
			raw, err := json.Marshal(spec{files})
			if err != nil {
				t.Fatal(err)
			}
			if code := GuestMainAt(t.TempDir(), bytes.NewReader(raw), &bytes.Buffer{}); code != 2 {
				t.Errorf("the guest's half ends with %d", code)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	files := []File{{Path: "/a", Content: []byte("x"), How: Create}}
	good := `{"files":[{"path":"/a","state":"written","sum":"` + sum([]byte("x")) + `"}]}`
	if _, err := Decode([]byte(good+"\n"), files); err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]string{
		"empty":         "",
		"none":          `{"files":[]}`,
		"more":          strings.Replace(good, "}]", `},{"path":"/b","state":"left"}]`, 1),
		"another":       strings.Replace(good, "/a", "/b", 1),
		"wrong digest":  strings.Replace(good, sum([]byte("x")), sum([]byte("y")), 1),
		"no digest":     `{"files":[{"path":"/a","state":"merged"}]}`,
		"no state":      strings.Replace(good, "written", "fine", 1),
		"unknown field": strings.Replace(good, `"path"`, `"mode":1,"path"`, 1),
		"trailing":      good + good,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Decode([]byte(answer), files); err == nil {
				t.Errorf("it was believed: %+v", got)
			}
		})
	}
	out, err := Decode([]byte(`{"files":[{"path":"/a","state":"failed","detail":"a\u001b[2Jb\nc`+strings.Repeat("d", 400)+`"}]}`), files)
	if err != nil || strings.ContainsAny(out[0].Detail, "\x1b\n") || len(out[0].Detail) > maxDetail+10 {
		t.Errorf("detail %q, %v", out, err)
	}
}

func FuzzDecode(f *testing.F) {
	files := []File{{Path: "/a", Content: []byte("x"), How: Create}}
	f.Add([]byte(`{"files":[{"path":"/a","state":"written","sum":"` + sum([]byte("x")) + `"}]}`))
	f.Add([]byte(`{"files":[{"path":"/a","state":"failed","detail":"\u0000"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := Decode(data, files)
		if err == nil && (len(out) != 1 || out[0].InPlace() && out[0].Sum != sum([]byte("x"))) {
			t.Errorf("believed %+v", out)
		}
	})
}

// TestModes gives what is made, replaced or there already the mode asked for.
func TestModes(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "f")
	for _, step := range []struct {
		content string
		mode    uint32
		state   State
		want    os.FileMode
	}{
		{"secretive", 0o600, Written, 0o600}, {"secretive", 0o600, Present, 0o600}, {"secretive", 0o755, Present, 0o755},
		{"", 0o640, Written, 0o640}, {"", 0, Present, 0o640}, {"x", 0, Written, 0o644},
	} {
		got := run(t, root, File{Path: "/f", Content: []byte(step.content), How: Replace, Mode: step.mode})[0]
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got.State != step.state || info.Mode().Perm() != step.want || info.Size() != int64(len(step.content)) {
			t.Errorf("%+v gives %+v and mode %v", step, got, info.Mode())
		}
	}
	for name, f := range map[string]File{
		"set-id": {Path: "/f", Content: []byte("x"), How: Replace, Mode: 0o4755}, "empty": {Path: "/f", How: Append},
	} {
		if _, err := Encode([]File{f}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
