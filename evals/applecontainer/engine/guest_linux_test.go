package engine

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// hostile is a guest's root file system full of traps.
func hostile(t *testing.T) (*guestRoot, string) {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	secret := filepath.Join(dir, "secret")
	for _, d := range []string{root, filepath.Join(root, "bin"), filepath.Join(dir, "mount")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, mode := range map[string]os.FileMode{
		secret: 0o600, filepath.Join(root, "bin", "tool"): 0o755, filepath.Join(root, "bin", "text"): 0o644,
		filepath.Join(dir, "mount", "mounted"): 0o755,
	} {
		if err := os.WriteFile(path, []byte("secret"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"etc": dir, "up": "../secret", "alias": "/bin/tool"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	mount := shape.Mount{Source: filepath.Join(dir, "mount"), Destination: "/mnt"}
	single := shape.Mount{Source: filepath.Join(dir, "mount", "mounted"), Destination: "/one"}
	return &guestRoot{rootfs: root, mounts: []shape.Mount{mount, single}}, secret
}

func TestGuestStaysInside(t *testing.T) {
	guest, secret := hostile(t)
	for _, name := range []string{"/etc/secret", "/up", "/../secret", secret} {
		if text, err := guest.read(name); err == nil {
			t.Errorf("%s leads to %q", name, text)
		}
	}
	if err := guest.write("/new/hosts", "text\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := guest.read("/new/hosts"); err != nil || text != "text\n" {
		t.Errorf("written is %q, %v", text, err)
	}
	// The link to a directory outside leads to none inside.
	if err := guest.write("/etc/hosts", "text\n"); err == nil {
		if _, err := os.Stat(filepath.Join(filepath.Dir(secret), "hosts")); err == nil {
			t.Error("it was written outside")
		}
	}
	if err := unix.Mkfifo(filepath.Join(guest.rootfs, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := guest.read("/fifo"); err == nil {
		t.Errorf("a pipe is %q", text)
	}
}

func TestExecutable(t *testing.T) {
	guest, _ := hostile(t)
	path := []string{"PATH=/nowhere:/bin:/mnt"}
	for word, want := range map[string]bool{
		"tool": true, "mounted": true, "/bin/tool": true, "/alias": true, "/mnt/mounted": true, "/one": true,
		"": false, "text": false, "nothing": false, "/bin": false, "/bin/text": false, "/mnt/nothing": false,
	} {
		if got := guest.executable(word, path); got != want {
			t.Errorf("%q: %t", word, got)
		}
	}
	if guest.executable("tool", []string{"PATH=/"}) {
		t.Error("it is found outside PATH")
	}
}

func TestAppendEnv(t *testing.T) {
	got := appendEnv([]string{"A=1", "AB=2"}, []string{"A=9", "B=3", "B=4"})
	if want := []string{"A=1", "AB=2", "B=3"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v: getenv finds the first", got, want)
	}
}

func TestResolvConf(t *testing.T) {
	gateway := []string{"192.168.65.1"}
	for want, dns := range map[string]shape.DNS{
		"nameserver 192.168.65.1\n": {},
		"nameserver 1.1.1.1\nnameserver 9.9.9.9\ndomain d\nsearch a b\noptions ndots:2\n": {
			Nameservers: []string{"1.1.1.1", "9.9.9.9"}, Domain: "d", SearchDomains: []string{"a", "b"}, Options: []string{"ndots:2"},
		},
	} {
		if got := resolvConf(dns, gateway); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestProcessTicks(t *testing.T) {
	if processTicks(os.Getpid()) == 0 || processTicks(1<<30) != 0 {
		t.Error("a process that lives has no start time, or one that does not has one")
	}
	if (&running{PID: 1 << 30}).alive() {
		t.Error("a process that never was is alive")
	}
}

func TestRoleOf(t *testing.T) {
	for name, want := range map[string]Role{"/.cz-init": RoleInit, "/usr/bin/getent": RoleGetent, "container": "", "/x/other": ""} {
		if got := RoleOf(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
}
