package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

var epoch = time.Unix(1_700_000_000, 123_456_789)

// arena is a directory with a destination and, beside it, what must never
// change.
type arena struct {
	t            *testing.T
	dst, outside string
	before       string
}

func newArena(t *testing.T) *arena {
	t.Helper()
	top := t.TempDir()
	a := &arena{t: t, dst: filepath.Join(top, "dst"), outside: filepath.Join(top, "outside")}
	must(t, os.Mkdir(a.dst, 0o755))
	must(t, os.Mkdir(a.outside, 0o755))
	must(t, os.WriteFile(filepath.Join(a.outside, "passwd"), []byte("host secret"), 0o644))
	must(t, os.Chtimes(filepath.Join(a.outside, "passwd"), epoch, epoch))
	a.before = snapshot(t, a.outside)
	return a
}

func (a *arena) unpack(data []byte, opts UnpackOptions) (backend.CopyReport, error) {
	a.t.Helper()
	return Unpack(context.Background(), bytes.NewReader(data), openRoot(a.t, a.dst), opts)
}

// intact fails the test when anything beside the destination changed.
func (a *arena) intact() {
	a.t.Helper()
	if after := snapshot(a.t, a.outside); after != a.before {
		a.t.Errorf("outside changed:\nbefore:\n%safter:\n%s", a.before, after)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// snapshot describes a tree: kinds, modes, times, link targets, content.
func snapshot(t testing.TB, top string) string {
	t.Helper()
	var out bytes.Buffer
	must(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		if rel == "." {
			fmt.Fprintf(&out, ". %s\n", info.Mode())
			return nil
		}
		detail := ""
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			links := info.Sys().(*syscall.Stat_t).Nlink
			detail = fmt.Sprintf("%d bytes %x links %d", len(data), sha256.Sum256(data), links)
		case info.Mode()&fs.ModeSymlink != 0:
			detail, err = os.Readlink(path)
		}
		fmt.Fprintf(&out, "%q %s %d %s\n", rel, info.Mode(), info.ModTime().UnixNano(), detail)
		return err
	}))
	return out.String()
}

// entry is one entry of a stream with its content.
type entry struct {
	tar.Header
	body string
}

// stream builds a tar.
func stream(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := e.Header
		h.Size = int64(len(e.body))
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.ModTime.IsZero() {
			h.ModTime = epoch
		}
		must(t, w.WriteHeader(&h))
		_, err := w.Write([]byte(e.body))
		must(t, err)
	}
	must(t, w.Close())
	return buf.Bytes()
}

func file(name, body string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name}, body}
}

func dir(name string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}}
}

func hardLink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}}
}

func special(name string, kind byte) entry {
	return entry{Header: tar.Header{Typeflag: kind, Name: name, Devmajor: 1, Devminor: 3}}
}

func packed(t testing.TB, dir, name string, opts PackOptions) ([]byte, backend.CopyReport) {
	t.Helper()
	var buf bytes.Buffer
	report, err := Pack(context.Background(), &buf, Source{Root: openRoot(t, dir), Name: name}, opts)
	must(t, err)
	return buf.Bytes(), report
}

func reasons(r backend.CopyReport) string {
	var out bytes.Buffer
	for _, s := range r.Skipped {
		fmt.Fprintf(&out, "%s: %s\n", s.Path, s.Reason)
	}
	return out.String()
}
