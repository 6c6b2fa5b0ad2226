package backendtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

func (s *suite) copy(t *testing.T) {
	b := s.launch(t)
	t.Run("round trip", b.roundTrip)
	t.Run("owner", b.owner)
	t.Run("large file", b.largeFile)
	t.Run("single file", b.singleFile)
	t.Run("guest symlinks", b.guestSymlinks)
	t.Run("unwritable", b.unwritable)
	t.Run("unreadable", b.unreadable)
	t.Run("missing source", b.missingSource)
	t.Run("broken stream", b.brokenStream)
	t.Run("special files", b.specialFiles)
	t.Run("cancelled", b.copyCancelled)
}

// copyIn packs the host directory dir into the guest.
func (b *bottle) copyIn(t *testing.T, dir, path, user string) backend.CopyReport {
	t.Helper()
	root := openRoot(t, dir)
	r, w := io.Pipe()
	go func() {
		_, err := archive.Pack(t.Context(), w, archive.Source{Root: root, Name: "."}, archive.PackOptions{})
		_ = w.CloseWithError(err)
	}()
	report, err := b.s.Backend.Copy(t.Context(), b.id, backend.CopySpec{Direction: backend.CopyIn, Path: path, User: user, Reader: r})
	if err != nil {
		t.Fatalf("Copy into %s: %v", path, err)
	}
	return report
}

// copyOut unpacks the guest path into a new host directory.
func (b *bottle) copyOut(t *testing.T, path, user string) (dir string, report backend.CopyReport) {
	t.Helper()
	dir = t.TempDir()
	root := openRoot(t, dir)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := b.s.Backend.Copy(t.Context(), b.id, backend.CopySpec{Direction: backend.CopyOut, Path: path, User: user, Writer: w})
		_ = w.CloseWithError(err)
		done <- err
	}()
	report, err := archive.Unpack(t.Context(), r, root, archive.UnpackOptions{RootMeta: true})
	_ = r.Close()
	if err = errors.Join(err, <-done); err != nil {
		t.Fatalf("Copy out of %s: %v", path, err)
	}
	return dir, report
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// plant makes a tree with everything a copy must keep.
func plant(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	when := time.Unix(1_600_000_000, 123_456_789)
	put := func(name, content string, mode fs.FileMode) {
		path := filepath.Join(top, name)
		for _, err := range []error{
			os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600),
			os.Chmod(path, mode), os.Chtimes(path, when, when),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	put("plain.txt", "hello\n", 0o644)
	put("run.sh", "#!/bin/sh\n", 0o755)
	put("private", "mine", 0o600)
	put("read only", "x", 0o444)
	put("empty", "", 0o644)
	put("deep/er/and/deeper/file", "deep", 0o640)
	put("ümläut/日本語.txt", "unicode", 0o644)
	put("-dash", "x", 0o644)
	put("new\nline", "x", 0o644)
	put("binary", noise(200_000), 0o644)
	for _, err := range []error{
		os.Mkdir(filepath.Join(top, "empty dir"), 0o755), os.Chmod(filepath.Join(top, "empty dir"), 0o750),
		os.Symlink("plain.txt", filepath.Join(top, "link")), os.Symlink("no/such", filepath.Join(top, "dangling")),
		os.Link(filepath.Join(top, "plain.txt"), filepath.Join(top, "hard")),
		os.Chtimes(filepath.Join(top, "deep"), when, when), os.Chtimes(filepath.Join(top, "empty dir"), when, when),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return top
}

// describe renders a host tree: kinds, modes, times, content. The times of
// links are left out: not every engine's file system keeps them.
func describe(t *testing.T, top string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == top {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, path)
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			fmt.Fprintf(&out, "%q -> %q\n", rel, target)
			return err
		case info.IsDir():
			fmt.Fprintf(&out, "%q %s %d\n", rel, info.Mode(), info.ModTime().UnixNano())
			return nil
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&out, "%q %s %d %x\n", rel, info.Mode(), info.ModTime().UnixNano(), sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (b *bottle) roundTrip(t *testing.T) {
	src := plant(t)
	in := b.copyIn(t, src, backend.GuestWorkspace+"/new/tree", "")
	if in.Files != 11 || in.Dirs != 6 || in.Symlinks != 2 || len(in.Skipped) != 0 {
		t.Errorf("copy in reports %+v", in)
	}
	dst, out := b.copyOut(t, backend.GuestWorkspace+"/new/tree", "")
	if out.Files != in.Files || out.Dirs != in.Dirs || out.Symlinks != in.Symlinks || out.Bytes != in.Bytes || len(out.Skipped) != 0 {
		t.Errorf("copy out reports %+v, copy in %+v", out, in)
	}
	if want, got := describe(t, src), describe(t, dst); want != got {
		t.Errorf("trees differ:\nwant\n%sgot\n%s", want, got)
	}
}

func (b *bottle) owner(t *testing.T) {
	b.copyIn(t, plant(t), "/tmp/agents", "")
	agent := fmt.Sprintf("%[1]d:%[1]d\n", backend.AgentUID)
	for _, name := range []string{"", "/plain.txt", "/link", "/deep/er", "/empty dir"} {
		if out := b.sh(t, `stat -c %u:%g "$1"`, "/tmp/agents"+name); out != agent {
			t.Errorf("%q belongs to %q", name, out)
		}
	}
	if !b.s.caps.MultiUser {
		return
	}
	b.copyIn(t, plant(t), "/tmp/roots", "root")
	if out := b.sh(t, "stat -c %u:%g /tmp/roots/plain.txt"); out != "0:0\n" {
		t.Errorf("copied in as root it belongs to %q", out)
	}
}

func (b *bottle) largeFile(t *testing.T) {
	const size = 64 << 20
	src := t.TempDir()
	content := []byte(noise(size / 2))
	if err := os.WriteFile(filepath.Join(src, "large"), append(content, content...), 0o644); err != nil {
		t.Fatal(err)
	}
	if in := b.copyIn(t, src, "/tmp/large", ""); in.Bytes != size {
		t.Errorf("copy in reports %+v", in)
	}
	dst, _ := b.copyOut(t, "/tmp/large", "")
	got, err := os.ReadFile(filepath.Join(dst, "large"))
	if err != nil || !bytes.Equal(got, append(content, content...)) {
		t.Errorf("%d bytes come back, or others: %v", len(got), err)
	}
	b.sh(t, ": > /tmp/large/large")
}

func (b *bottle) singleFile(t *testing.T) {
	b.sh(t, "echo one > '/tmp/just one'")
	dst, out := b.copyOut(t, "/tmp/just one", "")
	got, err := os.ReadFile(filepath.Join(dst, "just one"))
	if err != nil || string(got) != "one\n" || out.Files != 1 || out.Dirs != 0 {
		t.Errorf("%q, %v, %+v", got, err, out)
	}
}

// guestSymlinks has links in the guest's way, as a hostile guest would place
// them: into its own system, and out of the tree that is copied.
func (b *bottle) guestSymlinks(t *testing.T) {
	b.sh(t, "mkdir -p /tmp/trap/in && ln -s /etc /tmp/trap/in/dir && ln -s /etc/passwd /tmp/trap/in/file && echo own > /tmp/victim && ln -s /tmp/victim /tmp/trap/in/through")
	before := b.sh(t, "cat /etc/passwd")
	src := t.TempDir()
	for _, name := range []string{"dir/passwd", "file", "through"} {
		path := filepath.Join(src, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("from the host"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range b.users() {
		report := b.copyIn(t, src, "/tmp/trap/in", user)
		if len(report.Skipped) == 0 {
			t.Errorf("as %q nothing is skipped: %+v", user, report)
		}
	}
	if after := b.sh(t, "cat /etc/passwd"); after != before {
		t.Errorf("/etc/passwd is now %q", after)
	}
	if got := b.sh(t, "cat /tmp/victim"); got != "own\n" {
		t.Errorf("a file was written through a link: %q", got)
	}
	b.sh(t, "mkdir -p /tmp/leak && ln -s /etc/passwd /tmp/leak/abs && ln -s ../../../../etc/passwd /tmp/leak/rel && ln -s /etc /tmp/leak/etc")
	dst, out := b.copyOut(t, "/tmp/leak", "")
	if left, _ := os.ReadDir(dst); len(left) != 0 || len(out.Skipped) != 3 {
		t.Errorf("%d links out of the tree are on the host, report %+v", len(left), out)
	}
}

// users are those the backend has.
func (b *bottle) users() []string {
	if b.s.caps.MultiUser {
		return []string{"", "root"}
	}
	return []string{""}
}

func (b *bottle) unwritable(t *testing.T) {
	for _, path := range []string{"/usr/bottle", "/etc", "/proc", "/.bottle"} {
		for _, user := range b.users() {
			if user == "root" && b.s.OwnRoot && !strings.HasPrefix(path, "/.") {
				continue // its own to change
			}
			root := openRoot(t, plant(t))
			var buf bytes.Buffer
			if _, err := archive.Pack(t.Context(), &buf, archive.Source{Root: root, Name: "plain.txt"}, archive.PackOptions{}); err != nil {
				t.Fatal(err)
			}
			report, err := b.s.Backend.Copy(t.Context(), b.id, backend.CopySpec{Direction: backend.CopyIn, Path: path, User: user, Reader: &buf})
			if err == nil && (report.Files != 0 || len(report.Skipped) == 0) {
				t.Errorf("into %s as %q: %+v", path, user, report)
			}
		}
	}
}

func (b *bottle) unreadable(t *testing.T) {
	b.sh(t, "mkdir -p /tmp/closed/dir && echo x > /tmp/closed/file && echo y > /tmp/closed/open && chmod 000 /tmp/closed/file /tmp/closed/dir")
	dst, _ := b.copyOut(t, "/tmp/closed", "")
	names, _ := os.ReadDir(dst)
	if len(names) != 1 || names[0].Name() != "open" {
		t.Errorf("%v come out", names)
	}
}

func (b *bottle) missingSource(t *testing.T) {
	_, err := b.s.Backend.Copy(t.Context(), b.id, backend.CopySpec{Direction: backend.CopyOut, Path: "/no/such/file", Writer: io.Discard})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
	_, err = b.s.Backend.Copy(t.Context(), b.id, backend.CopySpec{Direction: backend.CopyOut, Path: "relative", Writer: io.Discard})
	if err == nil {
		t.Error("a relative path is taken")
	}
}

func (b *bottle) brokenStream(t *testing.T) {
	for name, data := range map[string]string{"empty": "", "cut": noise(300), "no archive": strings.Repeat("text\n", 1000)} {
		_, err := b.s.Backend.Copy(t.Context(), b.id, backend.CopySpec{Direction: backend.CopyIn, Path: "/tmp/broken", Reader: strings.NewReader(data)})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	b.sh(t, "echo fine")
}

// specialFiles has what is no file: left out with a reason, and nothing hangs.
func (b *bottle) specialFiles(t *testing.T) {
	if r := b.run(t, script0("mkdir -p /tmp/special && mkfifo /tmp/special/pipe && echo x > /tmp/special/file"), ""); r.Code != 0 {
		t.Fatalf("make a pipe: %s", r.stderr)
	}
	dst, _ := b.copyOut(t, "/tmp/special", "")
	if names, _ := os.ReadDir(dst); len(names) != 1 {
		t.Errorf("%v come out", names)
	}
}

// copyCancelled ends a copy whose stream has stopped.
func (b *bottle) copyCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	start := time.Now()
	_, err := b.s.Backend.Copy(ctx, b.id, backend.CopySpec{Direction: backend.CopyIn, Path: "/tmp/stuck", Reader: endless{stop}})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 300*time.Millisecond+killBound {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

// packHost packs a host directory into memory.
func packHost(t *testing.T, buf *bytes.Buffer, dir string) {
	t.Helper()
	if _, err := archive.Pack(t.Context(), buf, archive.Source{Root: openRoot(t, dir), Name: "."}, archive.PackOptions{}); err != nil {
		t.Fatal(err)
	}
}
