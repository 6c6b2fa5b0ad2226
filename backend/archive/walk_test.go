package archive

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// walkTree makes a tree with something of every kind.
func walkTree(t *testing.T) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"t/a": "hello", "t/d/b": "", "t/d/e/c": "deep", "t/skip/x": "no", "t/more/a": "", "t/more/b": "no", "t/z": "last"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("/etc", filepath.Join(dir, "t/link")), syscall.Mkfifo(filepath.Join(dir, "t/pipe"), 0o644)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

func TestWalk(t *testing.T) {
	root := walkTree(t)
	var got []string
	err := Walk(t.Context(), Source{Root: root, Name: "t"}, func(e Entry) error {
		line := e.Name + " " + e.Type.String()
		if e.Type == 0 {
			head, err := e.Head(4)
			if err != nil {
				t.Error(err)
			}
			line += " " + string(head)
		} else if _, err := e.Head(4); err == nil {
			t.Errorf("%s was read", e.Name)
		}
		got = append(got, line)
		if e.Name == "skip" || e.Name == "more/a" {
			return fs.SkipDir
		}
		return nil
	})
	want := []string{
		"a ---------- hell", "d d---------", "d/b ---------- ", "d/e d---------", "d/e/c ---------- deep",
		"link L---------", "more d---------", "more/a ---------- ", "pipe ?---------", "skip d---------", "z ---------- last",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("visited %q, %v", got, err)
	}
}

func TestWalkEnds(t *testing.T) {
	root := walkTree(t)
	errMine := errors.New("mine")
	if err := Walk(t.Context(), Source{Root: root, Name: "t"}, func(Entry) error { return errMine }); !errors.Is(err, errMine) {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Walk(ctx, Source{Root: root, Name: "t"}, func(Entry) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	var one []string
	if err := Walk(t.Context(), Source{Root: root, Name: "t/a"}, func(e Entry) error {
		one = append(one, e.Name)
		return nil
	}); err != nil || !slices.Equal(one, []string{"a"}) {
		t.Errorf("visited %q, %v", one, err)
	}
	for _, name := range []string{"../x", "none"} {
		if err := Walk(t.Context(), Source{Root: root, Name: name}, func(Entry) error { return nil }); err == nil {
			t.Errorf("%s was walked", name)
		}
	}
}

// TestPackOmit: what Walk's caller decided holds in the archive, and the report
// tells all of it.
func TestPackOmit(t *testing.T) {
	root := walkTree(t)
	var stream bytes.Buffer
	report, err := Pack(t.Context(), &stream, Source{Root: root, Name: "t"}, PackOptions{
		Omit: func(name string, dir bool) string {
			switch {
			case name == "skip" && dir:
				return "a directory"
			case name == "d/e/c" && !dir:
				return "a file"
			}
			return ""
		},
		Replace: map[string]Replacement{"a": {[]byte("another"), "changed"}, "link": {[]byte("never: it is no file"), "never"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []backend.Skip{
		{Path: "a", Reason: "changed"}, {Path: "d/e/c", Reason: "a file"},
		{Path: "pipe", Reason: "it is a named pipe"}, {Path: "skip", Reason: "a directory"},
	}
	if !slices.Equal(report.Skipped, want) || report.Files != 5 {
		t.Errorf("report is %+v", report)
	}
	dst := t.TempDir()
	out, err := os.OpenRoot(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	if _, err := Unpack(t.Context(), &stream, out, UnpackOptions{AnyLinks: true}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dst, "a")); string(data) != "another" {
		t.Errorf("a holds %q, %v", data, err)
	}
	if target, err := os.Readlink(filepath.Join(dst, "link")); target != "/etc" {
		t.Errorf("link leads to %q, %v", target, err)
	}
	for _, name := range []string{"skip", "d/e/c", "pipe"} {
		if _, err := os.Lstat(filepath.Join(dst, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
}
