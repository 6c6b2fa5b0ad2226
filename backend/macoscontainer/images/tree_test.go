package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// lay writes a tree: a name that ends in "/" is a directory, a content that
// begins with "->" a symlink.
func lay(t *testing.T, dir string, entries map[string]string) string {
	t.Helper()
	for name, content := range entries {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		target, link := strings.CutPrefix(content, "->")
		switch {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case link:
			err = os.Symlink(target, path)
		default:
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// list is lay's opposite, with modes.
func list(t *testing.T, dir string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		line := fmt.Sprintf("%s %s", info.Mode(), name)
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			lines = append(lines, "L "+name+" "+target)
			return err
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			lines = append(lines, line+" "+string(data))
			return err
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func copyTree(t *testing.T, dir string) (tree, string, error) {
	t.Helper()
	target := t.TempDir()
	root, err := os.OpenRoot(target)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	read, err := readTree(t.Context(), dir, root)
	return read, target, err
}

func TestReadTreeCopies(t *testing.T) {
	dir := lay(t, t.TempDir(), map[string]string{
		"a": "one", "sub/b": "two", "sub/empty/": "", "sub/up": "->../a", "here": "->sub/b", "dangling": "->sub/none", ".dockerignore": "x",
	})
	if err := os.Chmod(filepath.Join(dir, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "sub"), 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "sub"), 0o755) })
	read, target, err := copyTree(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"-rw-r--r-- .dockerignore x", "-rwxr-xr-x a one", "L dangling sub/none", "L here sub/b", "drwxr-xr-x sub",
		"-rw-r--r-- sub/b two", "drwxr-xr-x sub/empty", "L sub/up ../a",
	}
	if got := list(t, target); !slices.Equal(got, want) {
		t.Errorf("copied\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	only, err := readTree(t.Context(), dir, nil)
	if err != nil || only.sum != read.sum || len(read.skipped) > 0 {
		t.Errorf("read %+v, copied %+v, %v", only, read, err)
	}
}

func TestTreeSumChanges(t *testing.T) {
	base := map[string]string{"a": "one", "sub/b": "two", "link": "->a"}
	sum := func(t *testing.T, change func(dir string) error) string {
		t.Helper()
		dir := lay(t, t.TempDir(), base)
		if change != nil {
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
		}
		read, err := readTree(t.Context(), dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return read.sum
	}
	first := sum(t, nil)
	if again := sum(t, nil); again != first {
		t.Fatal("the same tree has another sum")
	}
	seen := map[string]string{first: "nothing"}
	for name, change := range map[string]func(string) error{
		"content":       func(d string) error { return os.WriteFile(filepath.Join(d, "a"), []byte("onf"), 0o644) },
		"mode":          func(d string) error { return os.Chmod(filepath.Join(d, "a"), 0o755) },
		"new file":      func(d string) error { return os.WriteFile(filepath.Join(d, "c"), nil, 0o644) },
		"new directory": func(d string) error { return os.Mkdir(filepath.Join(d, "c"), 0o755) },
		"removed":       func(d string) error { return os.Remove(filepath.Join(d, "a")) },
		"renamed":       func(d string) error { return os.Rename(filepath.Join(d, "a"), filepath.Join(d, "aa")) },
		"moved":         func(d string) error { return os.Rename(filepath.Join(d, "sub", "b"), filepath.Join(d, "b")) },
		"link": func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, "link")), os.Symlink("sub/b", filepath.Join(d, "link")))
		},
		"link to file": func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, "link")), os.WriteFile(filepath.Join(d, "link"), []byte("a"), 0o644))
		},
	} {
		got := sum(t, change)
		if other, ok := seen[got]; ok {
			t.Errorf("%s makes the same sum as %s", name, other)
		}
		seen[got] = name
	}
}

func TestHostileTree(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := lay(t, t.TempDir(), map[string]string{
		"Dockerfile": "FROM x", "absolute": "->" + secret, "up": "->../" + filepath.Base(secret), "sub/deep/far": "->../../../x",
		"root": "->.", "through": "->root/../x", "dirlink": "->" + filepath.Dir(secret),
	})
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // a socket's path is short
	listener, err := net.Listen("unix", "sock")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	read, target, err := copyTree(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"-rw-r--r-- Dockerfile FROM x", "L root .", "drwxr-xr-x sub", "drwxr-xr-x sub/deep"}
	if got := list(t, target); !slices.Equal(got, want) {
		t.Errorf("copied\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var log bytes.Buffer
	read.tellSkipped(&buildLog{dst: &log})
	for _, name := range []string{"absolute", "up", "sub/deep/far", "through", "dirlink", "fifo", "sock"} {
		if !strings.Contains(log.String(), "left out of the build context: "+name+": ") {
			t.Errorf("nobody is told of %s:\n%s", name, &log)
		}
	}
}

func TestInside(t *testing.T) {
	for _, tc := range []struct {
		name, target string
		want         bool
	}{
		{"a", "b", true},
		{"a", "b/c", true},
		{"a", "./b/.//c/", true},
		{"a", ".", true},
		{"d/a", "..", true},
		{"d/a", "../b", true},
		{"d/e/a", "../../b", true},
		{"d/e/a", ".././../b", true},
		{"a", "", false},
		{"a", "/", false},
		{"a", "/etc", false},
		{"a", "..", false},
		{"a", "../a", false},
		{"d/a", "../../b", false},
		{"a", "b/../c", false}, // b may be a symlink to a place near the root
		{"d/a", "../b/..", false},
		{"a", "b/..", false},
	} {
		if got := inside(tc.name, tc.target); got != tc.want {
			t.Errorf("inside(%q, %q) = %v", tc.name, tc.target, got)
		}
	}
}

func TestTreeLimits(t *testing.T) {
	dir := lay(t, t.TempDir(), map[string]string{"a": "12345", "b": "12345", "c/": ""})
	for name, tc := range map[string]struct {
		limits contextLimits
		want   string
	}{
		"fits":             {contextLimits{10, 3}, ""},
		"too many bytes":   {contextLimits{9, 3}, "MiB: name a smaller directory"},
		"too many entries": {contextLimits{10, 2}, "more than 2 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readTreeWithin(t.Context(), dir, nil, tc.limits)
			if tc.want != "" {
				mustContain(t, err, tc.want, dir)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("many skipped", func(t *testing.T) {
		entries := map[string]string{}
		for n := range maxSkipped + 5 {
			entries[fmt.Sprintf("l%03d", n)] = "->/etc"
		}
		read, err := readTree(t.Context(), lay(t, t.TempDir(), entries), nil)
		if err != nil || len(read.skipped) != maxSkipped || read.more != 5 {
			t.Errorf("%d named, %d more, %v", len(read.skipped), read.more, err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := readTree(ctx, dir, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("gone", func(t *testing.T) {
		if _, err := readTree(t.Context(), filepath.Join(dir, "none"), nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
}

// What became a FIFO since it was looked at must not hold a build forever.
func TestOpenRegular(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openRegular(os.OpenFile, fifo)
	mustContain(t, err, "no file any more")
}
