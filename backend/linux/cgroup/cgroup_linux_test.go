package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

var limits = backend.Limits{CPUs: 1.5, MemoryBytes: 64 << 20, PIDs: 100}

func limited(root string) *Group {
	g := Create(root, "b")
	g.Limit(limits)
	return g
}

// fake makes directories with the files a kernel would make.
func fake(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestVersion1(t *testing.T) {
	root := fake(t, map[string]string{
		"memory/cgroup.procs": "", "pids/cgroup.procs": "",
		"memory/bottle-mcp/b/cgroup.procs": "", "pids/bottle-mcp/b/cgroup.procs": "",
		"memory/bottle-mcp/b/memory.limit_in_bytes": "", "pids/bottle-mcp/b/pids.max": "",
		"memory/bottle-mcp/b/memory.usage_in_bytes": "4096\n",
	})
	g := limited(root)
	if want := []string{"memory", "pids"}; !slices.Equal(g.InForce, want) {
		t.Errorf("in force: %v, want %v", g.InForce, want)
	}
	if len(g.Missing) != 1 || g.Missing[0].Name != "cgroup-cpu" || !strings.Contains(g.Missing[0].Reason, "not mounted") {
		t.Errorf("missing: %+v, want cpu, not mounted", g.Missing)
	}
	for file, want := range map[string]string{
		"memory/bottle-mcp/b/memory.limit_in_bytes": "67108864",
		"pids/bottle-mcp/b/pids.max":                "100",
	} {
		if got, err := os.ReadFile(filepath.Join(root, file)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v; want %q", file, got, err, want)
		}
	}
	if n := g.MemoryBytes(); n != 4096 {
		t.Errorf("MemoryBytes = %d, want 4096", n)
	}
	if _, err := os.Stat(filepath.Join(root, "cpu")); err == nil {
		t.Error("a plain directory was made where no controller is mounted")
	}
}

func TestVersion2(t *testing.T) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	path := "/"
	for line := range strings.Lines(string(own)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path = p
		}
	}
	files := map[string]string{"cgroup.controllers": "cpu memory pids"}
	for d := path; ; d = filepath.Dir(d) {
		files[filepath.Join(d, "cgroup.procs")] = ""
		if d == "/" {
			break
		}
	}
	files["bottle-mcp/b/cgroup.procs"] = ""
	files["bottle-mcp/b/memory.max"], files["bottle-mcp/b/pids.max"], files["bottle-mcp/b/cpu.max"] = "", "", ""
	root := fake(t, files)
	g := limited(root)
	if want := []string{"memory", "pids", "cpu"}; !slices.Equal(g.InForce, want) || len(g.Missing) != 0 {
		t.Errorf("in force %v, missing %+v; want %v", g.InForce, g.Missing, want)
	}
	if got, err := os.ReadFile(filepath.Join(root, "bottle-mcp/b/cpu.max")); err != nil || string(got) != "150000 100000" {
		t.Errorf("cpu.max = %q, %v", got, err)
	}
}

func TestNothingWritable(t *testing.T) {
	g := limited(fake(t, map[string]string{"cgroup.controllers": "cpu"}))
	if len(g.InForce) != 0 || len(g.Missing) != 3 {
		t.Errorf("in force %v, missing %+v; want nothing and three reasons", g.InForce, g.Missing)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Errorf("Remove of nothing: %v", err)
	}
}

// TestFind finds groups by the bottle's name alone.
func TestFind(t *testing.T) {
	root := fake(t, map[string]string{
		"memory/bottle-mcp/b/cgroup.procs": "", "pids/bottle-mcp/other/cgroup.procs": "",
	})
	g := Find(root, "b")
	if len(g.Dirs) != 1 || g.Dirs["memory"] != filepath.Join(root, "memory/bottle-mcp/b") {
		t.Errorf("Find = %v", g.Dirs)
	}
}

// TestSweep keeps the empty group of a shim that lives: it is about to fill it.
func TestSweep(t *testing.T) {
	root := fake(t, nil)
	living, gone := SparePrefix+strconv.Itoa(os.Getpid()), SparePrefix+"999999999"
	for _, name := range []string{living, gone, "bottle.0123"} {
		if err := os.MkdirAll(filepath.Join(root, "pids", parent, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	Sweep(root)
	for name, stays := range map[string]bool{living: true, gone: false, "bottle.0123": true} {
		if _, err := os.Stat(filepath.Join(root, "pids", parent, name)); (err == nil) != stays {
			t.Errorf("%s: stays %v, want %v", name, err == nil, stays)
		}
	}
}
