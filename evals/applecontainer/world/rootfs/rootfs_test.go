package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func read(t *testing.T, archive []byte) (names []string, entries map[string]tar.Header) {
	t.Helper()
	entries = map[string]tar.Header{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, entries
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Clean(h.Name)
		names, entries[name] = append(names, name), *h
	}
}

func TestTree(t *testing.T) {
	var out bytes.Buffer
	tr := newTree(&out)
	tr.text("/a/b/c", "first")
	tr.text("a/b/c", "second")
	tr.dir("a/b", 0o700, 7)
	tr.link("a/l", "b/c")
	tr.dir("own", 0o1777, 1000)
	if err := tr.close(); err != nil {
		t.Fatal(err)
	}
	names, entries := read(t, out.Bytes())
	if want := []string{"a", "a/b", "a/b/c", "a/l", "own"}; !slices.Equal(names, want) {
		t.Errorf("entries %v, want %v", names, want)
	}
	if h := entries["a/b/c"]; h.Size != 5 {
		t.Errorf("the second text replaced the first: %d bytes", h.Size)
	}
	if h := entries["own"]; h.Mode != 0o1777 || h.Uid != 1000 || h.Gid != 1000 {
		t.Errorf("a directory is %o of %d:%d", h.Mode, h.Uid, h.Gid)
	}
	if h := entries["a/l"]; h.Typeflag != tar.TypeSymlink || h.Linkname != "b/c" {
		t.Errorf("a link is %+v", h)
	}
}

func TestTreeKeepsItsFirstError(t *testing.T) {
	tr := newTree(io.Discard)
	tr.copy("x", filepath.Join(t.TempDir(), "none"), 0o755)
	tr.text("y", "y")
	if err := tr.close(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("closing gave %v", err)
	}
}

func TestLibraries(t *testing.T) {
	const ldd = "\tlinux-vdso.so.1 (0x00007ffd)\n" +
		"\tlibcurl.so.4 => /lib/x86_64-linux-gnu/libcurl.so.4 (0x00007f1)\n" +
		"\tlibgone.so.1 => not found\n" +
		"\t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n"
	got := libraries(ldd)
	if want := []string{"/lib/x86_64-linux-gnu/libcurl.so.4", "/lib64/ld-linux-x86-64.so.2"}; !slices.Equal(got, want) {
		t.Errorf("libraries %v, want %v", got, want)
	}
	for from, want := range map[string]string{
		"/lib/a/b.so": "/usr/lib/a/b.so", "/lib64/ld.so": "/usr/lib64/ld.so", "/bin/x": "/usr/bin/x",
		"/usr/lib/c.so": "/usr/lib/c.so", "/library/d": "/library/d",
	} {
		if got := place(from); got != want {
			t.Errorf("%s goes to %s, want %s", from, got, want)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, []byte("roots"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Sources{
		"no roots":          {Busybox: roots, Roots: roots + ".none"},
		"busybox no binary": {Busybox: roots, Roots: roots},
		"no busybox":        {Busybox: roots + ".none", Roots: roots},
		"no such tool":      {Busybox: roots, Roots: roots, Tools: []string{roots + ".none"}},
	} {
		if err := Write(t.Context(), io.Discard, s); err == nil {
			t.Errorf("%s: an image was written", name)
		}
	}
	if _, err := Programs("no-such-program-of-any-machine"); err == nil {
		t.Error("a program nobody has was found")
	}
}
