package provision

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// liveBed has one running bottle.
func liveBed(t *testing.T) (*bed, backend.ID) {
	t.Helper()
	b := newBed(t)
	return b, b.launch(LaunchRequest{}).ID
}

func TestCopyIn(t *testing.T) {
	b, id := liveBed(t)
	put(t, b.root, "tree/a.txt", "aaa")
	put(t, b.root, "tree/sub/b.log", "bb")
	put(t, b.root, "one/only.txt", "one")
	tests := []struct {
		name, host, guest string
		opts              CopyOptions
		arrives, text     string
		files             int
		sum               string
	}{
		{"directory", "tree", "/home/agent/in", CopyOptions{}, "/home/agent/in/sub/b.log", "bb", 2, ""},
		{"excluded", "tree", "/home/agent/ex", CopyOptions{Exclude: []string{"*.log"}}, "/home/agent/ex/a.txt", "aaa", 1, hexSum("aaa")},
		{"directory of one file", "one", "/home/agent/one", CopyOptions{}, "/home/agent/one/only.txt", "one", 1, hexSum("one")},
		{"file into a directory", "tree/a.txt", "/home/agent/dir/", CopyOptions{}, "/home/agent/dir/a.txt", "aaa", 1, hexSum("aaa")},
		{"file as itself", "tree/a.txt", "/home/agent/x/a.txt", CopyOptions{}, "/home/agent/x/a.txt", "aaa", 1, hexSum("aaa")},
		{"absolute", filepath.Join(b.root, "tree", "a.txt"), "/abs", CopyOptions{}, "/abs", "aaa", 1, hexSum("aaa")},
		{"file under another name", "tree/a.txt", "/home/agent/y/b.txt", CopyOptions{}, "/home/agent/y/b.txt", "aaa", 1, hexSum("aaa")},
		{"file into a directory that is there", "tree/a.txt", "/home/agent/in", CopyOptions{}, "/home/agent/in/a.txt", "aaa", 1, hexSum("aaa")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			result, err := b.CopyIn(t.Context(), operator, id, tt.host, tt.guest, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if result.Files != tt.files || result.SHA256 != tt.sum || result.Skipped == nil {
				t.Errorf("result is %+v", result)
			}
			if data, err := os.ReadFile(b.fake.guest(id, tt.arrives)); err != nil || string(data) != tt.text {
				t.Errorf("%s holds %q, %v", tt.arrives, data, err)
			}
		})
	}
}

func TestCopyOut(t *testing.T) {
	b, id := liveBed(t)
	guest := func(name, text string) { put(t, b.fake.guest(id, backend.AgentHome), name, text) }
	guest("tree/a.txt", "aaa")
	guest("tree/sub/b.log", "bb")
	put(t, b.root, "there/old.txt", "old")
	tests := []struct {
		name, guest, host string
		exclude           []string
		arrives, text     string
		files             int
		sum               string
	}{
		{"directory, made", "/home/agent/tree", "new/deep", nil, "new/deep/sub/b.log", "bb", 2, ""},
		{"directory, merged", "/home/agent/tree", "there", nil, "there/a.txt", "aaa", 2, ""},
		{"excluded directory", "/home/agent/tree", "ex", []string{"sub"}, "ex/a.txt", "aaa", 1, hexSum("aaa")},
		{"file into a directory", "/home/agent/tree/a.txt", "d/", nil, "d/a.txt", "aaa", 1, hexSum("aaa")},
		{"file as itself", "/home/agent/tree/a.txt", "e/a.txt", nil, "e/a.txt", "aaa", 1, hexSum("aaa")},
		{"file as itself, again", "/home/agent/tree/a.txt", "e/a.txt", nil, "e/a.txt", "aaa", 1, hexSum("aaa")},
		{"file under another name", "/home/agent/tree/a.txt", "e/b.txt", nil, "e/b.txt", "aaa", 1, hexSum("aaa")},
		{"file into a directory that is there", "/home/agent/tree/a.txt", "there", nil, "there/a.txt", "aaa", 1, hexSum("aaa")},
		{"into the root", "/home/agent/tree/a.txt", ".", nil, "a.txt", "aaa", 1, hexSum("aaa")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			result, err := b.CopyOut(t.Context(), operator, id, tt.guest, tt.host, CopyOptions{Exclude: tt.exclude})
			if err != nil {
				t.Fatal(err)
			}
			if result.Files != tt.files || result.SHA256 != tt.sum {
				t.Errorf("result is %+v", result)
			}
			if data, err := os.ReadFile(filepath.Join(b.root, tt.arrives)); err != nil || string(data) != tt.text {
				t.Errorf("%s holds %q, %v", tt.arrives, data, err)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(b.root, "ex", "sub")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an excluded directory arrived: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(b.root, "there", "old.txt")); err != nil || string(data) != "old" {
		t.Errorf("a file beside was lost: %q, %v", data, err)
	}
}

func TestCopyRefused(t *testing.T) {
	b, id := liveBed(t)
	put(t, b.root, "file", "x")
	if err := os.Symlink(t.TempDir(), filepath.Join(b.root, "out")); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"out", "out/x", "../x", "/etc/passwd", "", "a\x00"} {
		_, err := b.CopyIn(t.Context(), operator, id, host, "/x", CopyOptions{})
		wantInvalid(t, err, "host path", "")
		_, err = b.CopyOut(t.Context(), operator, id, "/home/agent", host, CopyOptions{})
		wantInvalid(t, err, "host path", "")
	}
	for _, guest := range []string{"", "relative", "/a\x00", "/" + strings.Repeat("x", 5000)} {
		_, err := b.CopyIn(t.Context(), operator, id, "file", guest, CopyOptions{})
		wantInvalid(t, err, "guest path", "")
		_, err = b.WriteFile(t.Context(), operator, id, guest, nil, CopyOptions{})
		wantInvalid(t, err, "guest path", "")
		_, _, err = b.ReadFile(t.Context(), operator, id, guest, 10)
		wantInvalid(t, err, "guest path", "")
	}
	_, err := b.CopyOut(t.Context(), operator, id, "/home/agent", "x", CopyOptions{Exclude: []string{"[x"}})
	wantInvalid(t, err, "exclude", "malformed")
	if _, err := b.CopyIn(t.Context(), operator, id, "absent", "/x", CopyOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent source: %v", err)
	}
	if _, err := b.CopyOut(t.Context(), operator, id, "/absent", "new", CopyOptions{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "in the guest") {
		t.Errorf("absent guest file: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(b.root, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a failed copy made the directory: %v", err)
	}
	if _, err := b.CopyOut(t.Context(), operator, id, "/home/agent", "file", CopyOptions{}); err == nil {
		t.Error("a directory was copied onto a file")
	}
}

// entries writes an archive by hand.
func entries(headers ...tar.Header) func(io.Writer) error {
	return func(w io.Writer) error {
		out := tar.NewWriter(w)
		for _, h := range headers {
			body := h.Linkname
			if h.Typeflag == tar.TypeReg {
				h.Linkname, h.Size = "", int64(len(body))
			} else {
				body = ""
			}
			h.Mode = 0o644
			if err := out.WriteHeader(&h); err != nil {
				return err
			}
			if _, err := io.WriteString(out, body); err != nil {
				return err
			}
		}
		return out.Close()
	}
}

func file(name, text string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: text}
}

// TestHostileStream is what a guest may send in place of the file it was asked
// for.
func TestHostileStream(t *testing.T) {
	tests := []struct {
		name   string
		host   string
		stream func(io.Writer) error
		want   string // part of the error; "" = none
	}{
		{"more beside the one file", "d/want.txt", entries(file("want.txt", "x"), file(".bashrc", "evil")), "larger than allowed"},
		{"out of the directory", "d", entries(tar.Header{Typeflag: tar.TypeDir, Name: "./"}, file("../evil", "x")), ""},
		{"absolute", "d", entries(tar.Header{Typeflag: tar.TypeDir, Name: "./"}, file("/evil", "x")), ""},
		{"through a link", "d", entries(tar.Header{Typeflag: tar.TypeDir, Name: "./"}, tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: ".."}, file("l/evil", "x")), ""},
		{"nothing", "d", func(io.Writer) error { return nil }, "ended before its end mark"},
		{"garbage", "d", func(w io.Writer) error { _, err := w.Write(bytes.Repeat([]byte("x"), 4096)); return err }, "invalid tar header"},
		{"too much", "d", entries(file("big", strings.Repeat("x", 5000))), "larger than allowed"},
		{"fails in the middle", "d", func(w io.Writer) error {
			_ = entries(file("a", "a"))(io.Discard)
			return errors.New("the engine broke")
		}, "the engine broke"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, id := liveBed(t)
			b.cfg.MaxCopyOut = 4096
			b.fake.stream = tt.stream
			_, err := b.CopyOut(t.Context(), operator, id, "/x", tt.host, CopyOptions{})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			for _, dir := range []string{b.root, filepath.Dir(b.root)} {
				for _, name := range []string{"evil", ".bashrc", "d/.bashrc", "d/evil"} {
					if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
						t.Errorf("%s was written into %s", name, dir)
					}
				}
			}
		})
	}
}

// TestEndlessStream: a guest that never ends its archive is cut off, and no
// goroutine stays.
func TestEndlessStream(t *testing.T) {
	b, id := liveBed(t)
	before := runtime.NumGoroutine()
	b.fake.stream = func(w io.Writer) error {
		for {
			if err := entries(file("a", "a"))(w); err != nil {
				return err
			}
		}
	}
	if _, err := b.CopyOut(t.Context(), operator, id, "/x", "d", CopyOptions{Exclude: []string{"q"}}); err == nil {
		t.Log("the stream ended at its end mark")
	}
	block := make(chan struct{})
	b.fake.stream = func(w io.Writer) error {
		_, err := w.Write(make([]byte, 10))
		<-block
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	go func() { <-ctx.Done(); close(block) }()
	if _, err := b.CopyOut(ctx, operator, id, "/x", "d", CopyOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	for deadline := time.Now().Add(2 * time.Second); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}

func TestFiles(t *testing.T) {
	b, id := liveBed(t)
	const text = "caf\u00e9 \x00 end"
	result, err := b.WriteFile(t.Context(), operator, id, "/home/agent/new/x.bin", []byte(text), CopyOptions{Mode: 0o600})
	if err != nil || result.Files != 1 || result.SHA256 != hexSum(text) {
		t.Fatalf("result is %+v, %v", result, err)
	}
	if info, err := os.Stat(b.fake.guest(id, "/home/agent/new/x.bin")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file is %v, %v", info, err)
	}
	for limit, want := range map[int64]string{100: text, 3: "caf", 0: "", -5: ""} {
		data, size, err := b.ReadFile(t.Context(), operator, id, "/home/agent/new/x.bin", limit)
		if err != nil || string(data) != want || size != int64(len(text)) {
			t.Errorf("limit %d reads %q, %d, %v", limit, data, size, err)
		}
	}
	link := func(target, name string) {
		if err := os.Symlink(target, b.fake.guest(id, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("new/x.bin", "/home/agent/relative")
	link("/home/agent/relative", "/home/agent/absolute")
	link("loop", "/home/agent/loop")
	if data, _, err := b.ReadFile(t.Context(), operator, id, "/home/agent/absolute", 3); err != nil || string(data) != "caf" {
		t.Errorf("through links: %q, %v", data, err)
	}
	for path, want := range map[string]string{"/home/agent/loop": "symbolic links", "/home/agent": "is a directory", "/home/agent/none": "in the guest"} {
		if _, _, err := b.ReadFile(t.Context(), operator, id, path, 3); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := os.Mkdir(b.fake.guest(id, "/home/agent/dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := b.WriteFile(t.Context(), operator, id, "/home/agent/dir", []byte("x"), CopyOptions{}); err == nil || !strings.Contains(err.Error(), "nothing was written") {
		t.Errorf("onto a directory: %v", err)
	}
	_, err = b.WriteFile(t.Context(), operator, id, "/", nil, CopyOptions{})
	wantInvalid(t, err, "guest path", "must name a file")
	_, err = b.WriteFile(t.Context(), operator, id, "/x", nil, CopyOptions{Mode: 0o4755})
	wantInvalid(t, err, "mode", "permission bits")
	_, err = b.WriteFile(t.Context(), operator, id, "/x", make([]byte, maxInline+1), CopyOptions{})
	wantInvalid(t, err, "content", "larger than")
}

// TestBigCopies moves more than any buffer holds, both ways.
func TestBigCopies(t *testing.T) {
	b, id := liveBed(t)
	text := strings.Repeat("0123456789abcdef", 1<<18)
	put(t, b.root, "big", text)
	in, err := b.CopyIn(t.Context(), operator, id, "big", "/home/agent", CopyOptions{})
	if err != nil || in.SHA256 != hexSum(text) || in.Bytes != int64(len(text)) {
		t.Fatalf("in: %+v, %v", in, err)
	}
	out, err := b.CopyOut(t.Context(), operator, id, "/home/agent/big", "back", CopyOptions{})
	if err != nil || out.SHA256 != in.SHA256 {
		t.Errorf("out: %+v, %v", out, err)
	}
	if data, size, err := b.ReadFile(t.Context(), operator, id, "/home/agent/big", 5); err != nil || string(data) != "01234" || size != int64(len(text)) {
		t.Errorf("read %q, %d, %v", data, size, err)
	}
}

func TestCopyLimitIsTyped(t *testing.T) {
	b, id := liveBed(t)
	b.cfg.MaxCopyOut = 10
	put(t, b.fake.guest(id, "/"), "x", strings.Repeat("x", 100))
	if _, err := b.CopyOut(t.Context(), operator, id, "/x", "d", CopyOptions{}); !errors.Is(err, archive.ErrLimit) {
		t.Errorf("error is %v", err)
	}
}
