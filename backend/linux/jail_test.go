//go:build linux

package linux

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestSidecarWalls reads the walls of a running sidecar from outside: what the
// guest's are is the self-test's to prove, which cannot look here.
func TestSidecarWalls(t *testing.T) {
	b := newBackend(t)
	start(t, b, "jail")
	st, err := b.readState("jail")
	if err != nil {
		t.Fatal(err)
	}
	proc := filepath.Join("/proc", strconv.Itoa(st.Sidecar.PID))
	status := fields(t, filepath.Join(proc, "status"), ":")
	for name, want := range map[string]string{
		"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
		"CapBnd": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2",
	} {
		if got := status[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	limits := string(read(t, filepath.Join(proc, "limits")))
	for _, want := range []string{"Max core file size 0 0", "Max data size 536870912 536870912", "Max file size 83886080 83886080"} {
		if !strings.Contains(strings.Join(strings.Fields(limits), " "), want) {
			t.Errorf("limits lack %q", want)
		}
	}
	if os.Getuid() != 0 {
		return // the rest of an undumpable process's entries is for root alone
	}
	for _, ns := range []string{"user", "mnt", "pid", "ipc", "uts", "cgroup"} {
		if link(t, proc+"/ns/"+ns) == link(t, "/proc/self/ns/"+ns) {
			t.Errorf("it shares the host's %s namespace", ns)
		}
	}
	if link(t, proc+"/ns/net") != link(t, "/proc/self/ns/net") {
		t.Error("it does not have the host's network, which is the way out")
	}
	mounts := strings.Split(strings.TrimSpace(string(read(t, filepath.Join(proc, "mountinfo")))), "\n")
	for _, m := range mounts {
		if f := strings.Fields(m); len(f) < 6 || !strings.HasPrefix(f[5], "ro,") {
			t.Errorf("a writable mount: %s", m)
		}
	}
	if env := read(t, filepath.Join(proc, "environ")); strings.Contains(string(env), "HOME=") {
		t.Errorf("it inherited an environment: %q", env)
	}
}

func fields(t *testing.T, path, sep string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(string(read(t, path))) {
		k, v, _ := strings.Cut(line, sep)
		out[k] = strings.TrimSpace(v)
	}
	return out
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func link(t *testing.T, path string) string {
	t.Helper()
	target, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return target
}
