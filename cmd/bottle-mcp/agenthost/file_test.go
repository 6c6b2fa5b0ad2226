package agenthost

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// put writes a file and the directories that lead to it.
func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestStoreNewFile(t *testing.T) {
	s := Store{Path: filepath.Join(t.TempDir(), "a", "b", "c.json")}
	old, err := s.Read()
	if old != nil || err != nil {
		t.Fatalf("%q, %v", old, err)
	}
	backup, err := s.Write(old, []byte("new"))
	if err != nil || backup != "" || content(t, s.Path) != "new" || mode(t, s.Path) != 0o600 || mode(t, filepath.Dir(s.Path)).Perm() != 0o700 {
		t.Errorf("%q, %v, %s", backup, err, mode(t, s.Path))
	}
	if left, err := os.ReadDir(filepath.Dir(s.Path)); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestStoreKeepsModeAndCopy(t *testing.T) {
	s := Store{Path: filepath.Join(t.TempDir(), "c.json")}
	put(t, s.Path, "old")
	old, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	backup, err := s.Write(old, []byte("new"))
	if err != nil || content(t, backup) != "old" || content(t, s.Path) != "new" || mode(t, s.Path) != 0o640 || mode(t, backup) != 0o640 {
		t.Errorf("%q, %v, %s", backup, err, mode(t, s.Path))
	}
}

func TestStoreSeesAnotherWriter(t *testing.T) {
	for name, tt := range map[string]struct {
		old    []byte
		before string
	}{
		"changed":  {[]byte("old"), "theirs"},
		"appeared": {nil, "theirs"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Store{Path: filepath.Join(t.TempDir(), "c.json")}
			put(t, s.Path, tt.before)
			if _, err := s.Write(tt.old, []byte("new")); err == nil || !strings.Contains(err.Error(), "has changed meanwhile") || content(t, s.Path) != "theirs" {
				t.Errorf("%v: %s", err, content(t, s.Path))
			}
		})
	}
}

func TestStoreFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, "dotfiles", "mcp.json")
	put(t, own, "old")
	s := Store{Path: filepath.Join(dir, "home", "mcp.json")}
	put(t, s.Path, "")
	if err := os.Remove(s.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(own, s.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("old"), []byte("new")); err != nil || content(t, own) != "new" || mode(t, s.Path)&os.ModeSymlink == 0 {
		t.Errorf("%v: %s, %s", err, content(t, own), mode(t, s.Path))
	}
	s.Inside = filepath.Join(dir, "home")
	if _, err := s.Read(); err == nil || !strings.Contains(err.Error(), "leads out of the project") {
		t.Errorf("out of the project: %v", err)
	}
	if _, err := s.Write([]byte("new"), []byte("newer")); err == nil || content(t, own) != "new" {
		t.Errorf("out of the project: %v", err)
	}
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	if _, err := (Store{Path: s.Path}).Read(); err == nil || !strings.Contains(err.Error(), "leads nowhere") {
		t.Errorf("a dead link: %v", err)
	}
}

func TestStoreOddFiles(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, pipe} {
		if _, err := (Store{Path: path}).Read(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
