package manifest

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const stranger = 12345 // a user id that nobody here has

// TestTrust plants files that somebody else could have written.
func TestTrust(t *testing.T) {
	file := func(l Loader) string { return filepath.Join(l.Home, bottlesDir, "x.md") }
	chmod := func(path string, mode os.FileMode) error { return os.Chmod(path, mode) }
	tests := []struct {
		name  string
		root  bool // only root can set it up
		spoil func(Loader) error
		want  string // "" = accepted; FILE and DIR stand for the paths
	}{
		{"closed", false, func(l Loader) error { return chmod(file(l), 0o600) }, ""},
		{"readable by all", false, func(l Loader) error { return chmod(file(l), 0o644) }, ""},
		{"read-only", false, func(l Loader) error { return chmod(file(l), 0o444) }, ""},
		{"writable by the group", false, func(l Loader) error { return chmod(file(l), 0o664) }, "FILE: others may write to it (mode 0664), and it decides what bottles may do; run: chmod go-w FILE"},
		{"writable by all", false, func(l Loader) error { return chmod(file(l), 0o602) }, "FILE: others may write to it (mode 0602), and it decides what bottles may do; run: chmod go-w FILE"},
		{"directory writable by the group", false, func(l Loader) error { return chmod(filepath.Dir(file(l)), 0o770) }, "DIR: others may write to it (mode 0770), and it decides what bottles may do; run: chmod go-w DIR"},
		{"home writable by all", false, func(l Loader) error { return chmod(l.Home, 0o777) }, "HOME: others may write to it (mode 0777), and it decides what bottles may do; run: chmod go-w HOME"},
		{"a stranger's file", true, func(l Loader) error { return os.Chown(file(l), stranger, -1) }, "FILE: it belongs to user 12345, who could change what bottles may do; you are user 0; copy it, or run: chown 0 FILE"},
		{"a stranger's directory", true, func(l Loader) error { return os.Chown(filepath.Dir(file(l)), stranger, -1) }, "DIR: it belongs to user 12345, who could"},
		{"link to a file of one's own", false, func(l Loader) error { return relink(file(l), 0o600) }, ""},
		{"link to a file of everybody's", false, func(l Loader) error { return relink(file(l), 0o666) }, "FILE: others may write to it (mode 0666)"},
		{"link that leads nowhere", false, func(l Loader) error { return replace(file(l), func() error { return os.Symlink("gone", file(l)) }) }, "FILE: it is a symbolic link that leads nowhere; mend or remove the link"},
		{"link to itself", false, func(l Loader) error { return replace(file(l), func() error { return os.Symlink("x.md", file(l)) }) }, "FILE: it cannot be read: too many levels of symbolic links"},
		{"link to a device", false, func(l Loader) error {
			return replace(file(l), func() error { return os.Symlink("/dev/zero", file(l)) })
		}, "FILE: it is a device, not a regular file"},
		{"directory", false, func(l Loader) error { return replace(file(l), func() error { return os.Mkdir(file(l), 0o700) }) }, "FILE: it is a directory, not a regular file; put a Markdown file there"},
		{"named pipe", false, func(l Loader) error { return replace(file(l), func() error { return syscall.Mkfifo(file(l), 0o600) }) }, "FILE: it is a named pipe, not a regular file"},
		{"socket", false, func(l Loader) error { return replace(file(l), func() error { return listen(t, file(l)) }) }, "FILE: it is a socket, not a regular file"},
		{"huge", false, func(l Loader) error { return os.Truncate(file(l), 100<<20) }, "FILE: it is larger than 1048576 bytes; shorten it"},
		{"enormous", false, func(l Loader) error { return os.Truncate(file(l), 1<<40) }, "FILE: it is larger than 1048576 bytes; shorten it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root && os.Geteuid() != 0 {
				t.Skip("only root can give files away")
			}
			l := home(t, map[string]string{"bottles/x.md": "---\n---\n", "agents/x.md": "---\n---\n"})
			if err := tt.spoil(l); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err := l.Bottle("x")
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %s", took)
			}
			want := strings.NewReplacer("FILE", file(l), "DIR", filepath.Dir(file(l)), "HOME", l.Home).Replace(tt.want)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
				t.Errorf("error is %v\nwant     %s", err, want)
			}
			if _, err := l.Agent("x", ""); err != nil && tt.name != "home writable by all" {
				t.Errorf("an agent beside it suffers: %v", err)
			}
		})
	}
}

func replace(file string, put func() error) error {
	if err := os.Remove(file); err != nil {
		return err
	}
	return put()
}

// relink moves the file away and links to it.
func relink(file string, mode os.FileMode) error {
	target := filepath.Join(filepath.Dir(file), "..", "elsewhere")
	if err := os.Rename(file, target); err != nil {
		return err
	}
	if err := os.Chmod(target, mode); err != nil {
		return err
	}
	return os.Symlink(target, file)
}

// listen makes a socket. Its path may be too long for an address, so it is bound
// in a short place and moved.
func listen(t *testing.T, file string) error {
	dir, err := os.MkdirTemp("", "s") //nolint:usetesting // t.TempDir's path is too long for a socket
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = l.Close() })
	return os.Rename(filepath.Join(dir, "s"), file)
}

// TestOneBrokenFile has every other file work.
func TestOneBrokenFile(t *testing.T) {
	l := home(t, map[string]string{
		"bottles/good.md": "---\n---\n", "bottles/broken.md": "---\n: :\n---\n", "bottles/child.md": "---\nextends: broken\n---\n",
		"agents/good.md": "---\nbottle: good\n---\n", "agents/broken.md": "no front matter",
	})
	for _, name := range []string{"good", "default"} {
		if _, err := l.Bottle(name); err != nil {
			t.Errorf("bottle %s: %v", name, err)
		}
	}
	for _, name := range []string{"broken", "child"} {
		if _, err := l.Bottle(name); err == nil || !strings.Contains(err.Error(), "broken.md:2") {
			t.Errorf("bottle %s: %v", name, err)
		}
	}
	if _, err := l.Agent("good", ""); err != nil {
		t.Error(err)
	}
	if got := l.Bottles(); len(got) != 4 {
		t.Errorf("bottles are %q", got)
	}
}
