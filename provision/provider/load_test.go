package provider

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// homeWith makes an operator's directory of files.
func homeWith(t *testing.T, files map[string]string) Loader {
	t.Helper()
	home := t.TempDir()
	for name, text := range files {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Loader{Home: home}
}

func TestLoadOwn(t *testing.T) {
	l := homeWith(t, map[string]string{
		"contrib/mine/provider.yaml":       "dockerfile: Dockerfile\ninteractive: {argv: [mine]}\n",
		"contrib/mine/Dockerfile":          "FROM scratch\n",
		"contrib/Not-a-name/provider.yaml": "x",
		"contrib/empty/README":             "x",
	})
	if got := l.Names(); !slices.Equal(got, []string{"claude", "codex", "generic", "mine", "pi"}) {
		t.Errorf("names %q", got)
	}
	p, err := l.Load("mine")
	if err != nil {
		t.Fatal(err)
	}
	if p.Dockerfile != "FROM scratch\n" || p.DockerfilePath != filepath.Join(l.Home, "contrib/mine/Dockerfile") || p.File == "" {
		t.Errorf("got %+v", p)
	}
}

func TestLoadRefuses(t *testing.T) {
	const file = "contrib/mine/provider.yaml"
	const text = "interactive: {argv: [mine]}\n"
	chmod := func(name string, mode os.FileMode) func(string) error {
		return func(home string) error { return os.Chmod(filepath.Join(home, name), mode) }
	}
	replace := func(put func(string) error) func(string) error {
		return func(home string) error {
			path := filepath.Join(home, file)
			return errors.Join(os.Remove(path), put(path))
		}
	}
	tests := []struct {
		name  string
		files map[string]string
		spoil func(home string) error
		load  string
		want  string
	}{
		{"unknown", nil, nil, "claud", `there is no provider "claud"; did you mean "claude"? known providers: claude, codex, generic, pi`},
		{"no name", nil, nil, "../x", "the name of the provider is not one"},
		{"built in", map[string]string{"contrib/claude/provider.yaml": text}, nil, "claude", `the provider "claude" is built in and cannot be replaced; give the directory another name`},
		{"writable by others", map[string]string{file: text}, chmod(file, 0o664), "mine", "others may write to it (mode 0664)"},
		{"directory writable by others", map[string]string{file: text}, chmod("contrib/mine", 0o777), "mine", "others may write to it (mode 0777)"},
		{"contrib writable by others", map[string]string{file: text}, chmod("contrib", 0o770), "mine", "others may write to it (mode 0770)"},
		{"home writable by others", map[string]string{file: text}, chmod(".", 0o707), "mine", "others may write to it (mode 0707)"},
		{"directory", map[string]string{file: text}, replace(func(p string) error { return os.Mkdir(p, 0o700) }), "mine", "it is a directory, not a regular file"},
		{"pipe", map[string]string{file: text}, replace(func(p string) error { return syscall.Mkfifo(p, 0o600) }), "mine", "it is a named pipe"},
		{"link to nowhere", map[string]string{file: text}, replace(func(p string) error { return os.Symlink("gone", p) }), "mine", "it is a symbolic link that leads nowhere"},
		{"device", map[string]string{file: text}, replace(func(p string) error { return os.Symlink("/dev/zero", p) }), "mine", "it is a device"},
		{"enormous", map[string]string{file: text}, func(home string) error { return os.Truncate(filepath.Join(home, file), 1<<40) }, "mine", "it is larger than"},
		{"Dockerfile missing", map[string]string{file: text + "dockerfile: Dockerfile\n"}, nil, "mine", "Dockerfile: it cannot be read: no such file"},
		{"Dockerfile of others", map[string]string{file: text + "dockerfile: Dockerfile\n", "contrib/mine/Dockerfile": "x"}, chmod("contrib/mine/Dockerfile", 0o666), "mine", "Dockerfile: others may write to it"},
		{"Dockerfile enormous", map[string]string{file: text + "dockerfile: Dockerfile\n", "contrib/mine/Dockerfile": strings.Repeat("x", maxDockerfile+1)}, nil, "mine", "it is larger than 16383 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := homeWith(t, tt.files)
			if tt.spoil != nil {
				if err := tt.spoil(l.Home); err != nil {
					t.Fatal(err)
				}
			}
			p, err := l.Load(tt.load)
			var typed *manifest.Error
			if p != nil || !errors.As(err, &typed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want %q", p, err, tt.want)
			}
		})
	}
}

// TestNobodyElsesFile needs root, who can give files away.
func TestNobodyElsesFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	l := homeWith(t, map[string]string{"contrib/mine/provider.yaml": "interactive: {argv: [mine]}\n"})
	if err := os.Chown(l.file("mine"), 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Load("mine"); err == nil || !strings.Contains(err.Error(), "it belongs to user 12345") || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
