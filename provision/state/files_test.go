package state

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// TestLinks plants symbolic links and pipes where files of ours are expected.
func TestLinks(t *testing.T) {
	s := open(t, t.TempDir())
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "keep"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"victim", "other"} {
		_ = reserve(t, s, backend.ID(name)).Unlock()
	}
	at := func(parts ...string) string { return filepath.Join(append([]string{s.BottlesDir()}, parts...)...) }
	link := func(target, name string) {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	link(outside, at("linked"))
	link("other", at("alias"))
	link(filepath.Join(outside, "keep"), at("victim", EgressLog))
	link(outside, at("victim", outputsDir))
	link(outside, at("victim", "dir"))
	if err := syscall.Mkfifo(at("other", EgressLog), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []backend.ID{"linked", "alias"} {
		if _, err := s.Read(id); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("read %s: %v", id, err)
		}
		if _, err := s.Lock(t.Context(), id); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("lock %s: %v", id, err)
		}
		if _, _, err := s.CreateOutput(id); err == nil {
			t.Errorf("output through %s", id)
		}
	}
	for _, id := range []backend.ID{"victim", "other"} {
		if _, err := s.OpenLedger(id); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("egress log of %s: %v", id, err)
		}
	}
	if _, _, err := s.CreateOutput("victim"); err == nil {
		t.Error("an output was made through a link")
	}
	entries, err := s.List()
	if err != nil || len(entries) != 2 {
		t.Errorf("list is %+v, %v", entries, err)
	}
	l, err := s.Lock(t.Context(), "victim")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(filepath.Join(outside, "keep")); err != nil || string(data) != "secret" {
		t.Errorf("removal went through a link: %q, %v", data, err)
	}
}

func TestOutputs(t *testing.T) {
	s := open(t, t.TempDir())
	_ = reserve(t, s, "x").Unlock()
	name, w, err := s.CreateOutput("x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.WriteString("hello")
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := s.OpenOutput("x", name)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); err != nil || string(data) != "hello" {
		t.Errorf("read %q, %v", data, err)
	}
	_ = r.Close()
	for _, bad := range []string{"", "..", "../" + recordFile, "out-1", name + "/x", "out-0000000000000000"} {
		if _, err := s.OpenOutput("x", bad); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("output %q: %v", bad, err)
		}
	}
	for range maxOutputs {
		_, w, err := s.CreateOutput("x")
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
	}
	left, err := os.ReadDir(filepath.Join(s.BottlesDir(), "x", outputsDir))
	if err != nil || len(left) != maxOutputs {
		t.Errorf("%d outputs are kept, %v", len(left), err)
	}
}

func TestPreserve(t *testing.T) {
	s := open(t, t.TempDir())
	l := reserve(t, s, "x")
	dir := filepath.Join(s.BottlesDir(), "x")
	if s.Preserved("x") {
		t.Error("preserved without the file")
	}
	for _, name := range []string{preserveFile, EgressLog} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("log"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !s.Preserved("x") {
		t.Error("not preserved")
	}
	for range 2 { // again is no error
		if err := l.Preserve(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, EgressLog)); err != nil {
		t.Fatal(err)
	}
	kept, err := s.OpenLedger("x")
	if err != nil || len(kept) != 1 {
		t.Fatal(len(kept), err)
	}
	f := kept[0]
	if data, err := io.ReadAll(f); err != nil || string(data) != "log" {
		t.Errorf("kept log is %q, %v", data, err)
	}
	_ = f.Close()
	_ = l.Unlock()
}
