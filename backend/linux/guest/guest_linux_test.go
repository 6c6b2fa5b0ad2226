package guest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

func TestParseMarker(t *testing.T) {
	own, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, limits string
		want         uint64
		ok           bool
	}{
		{"kernel's own text", string(own), ^uint64(0), true},
		{"marked", "Max cpu time  unlimited  unlimited  seconds\nMax realtime timeout      4611686018427387901  4611686018427387901  us        \n", 4611686018427387901, true},
		{"soft lowered only", "Max realtime timeout 5 4611686018427387901 us\n", 4611686018427387901, true},
		{"absent", "Max cpu time unlimited unlimited seconds\n", 0, false},
		{"cut short", "Max realtime timeout   12", 0, false},
		{"not a number", "Max realtime timeout a b us\n", 0, false},
		{"empty", "", 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, ok := parseMarker([]byte(tc.limits)); got != tc.want || ok != tc.ok {
				t.Errorf("parseMarker = %d, %v; want %d, %v", got, ok, tc.want, tc.ok)
			}
		})
	}
}

func TestZombie(t *testing.T) {
	for stat, want := range map[string]bool{
		"12 (sh) S 1 2 3":          false,
		"12 (sh) Z 1 2 3":          true,
		"12 (a) Z (b) R 1":         false, // a name may look like a state
		"12 (x) X 0":               true,
		"12 (never closed R 1 2 3": true,
		"":                         true,
	} {
		if got := zombie([]byte(stat)); got != want {
			t.Errorf("zombie(%q) = %v, want %v", stat, got, want)
		}
	}
}

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("tool", 0o755)
	write("plain", 0o644)
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"X=1", "PATH=/nowhere:" + dir}
	for _, tc := range []struct {
		name, argv0, path string
		code              int
	}{
		{"on PATH", "tool", filepath.Join(dir, "tool"), 0},
		{"absolute", dir + "/tool", filepath.Join(dir, "tool"), 0},
		{"relative", "./tool", filepath.Join(dir, "tool"), 0},
		{"missing on PATH", "nope", "", 127},
		{"missing path", "/no/such", "", 127},
		{"below a file", dir + "/tool/x", "", 127},
		{"not executable", "plain", "", 126},
		{"not executable path", "./plain", "", 126},
		{"directory", "./folder", "", 126},
		{"empty", "", "", 127},
		{"option-like", "--help", "", 127},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path, st := lookup([]string{tc.argv0}, env, dir)
			if path != tc.path || st.Code != tc.code {
				t.Errorf("lookup = %q, %+v; want %q, code %d", path, st, tc.path, tc.code)
			}
			if st.Code != 0 && st.StartError == "" {
				t.Error("no reason is given")
			}
		})
	}
	if path, st := lookup(nil, env, dir); path != "" || st.Code != 127 {
		t.Errorf("no argv: %q, %+v", path, st)
	}
}

func TestUser(t *testing.T) {
	single, multi := &server{}, &server{cfg: Serve{Multi: true}}
	for _, tc := range []struct {
		s    *server
		name string
		uid  uint32
		ok   bool
	}{
		{single, "", backend.AgentUID, true},
		{single, "agent", backend.AgentUID, true},
		{single, "1000", backend.AgentUID, true},
		{single, "root", 0, false},
		{single, "0", 0, false},
		{multi, "root", 0, true},
		{multi, "0", 0, true},
		{multi, "nobody", 65534, true},
		{multi, "1234", 1234, true},
		{multi, "65536", 0, false},
		{multi, "-1", 0, false},
		{multi, "daemon", 0, false},
	} {
		got, err := tc.s.user(tc.name)
		if (err == nil) != tc.ok || (tc.ok && got.uid != tc.uid) {
			t.Errorf("user(%q, multi %v) = %+v, %v; want uid %d, ok %v", tc.name, tc.s.cfg.Multi, got, err, tc.uid, tc.ok)
		}
	}
}

func TestEnvironment(t *testing.T) {
	base := []string{"A=1", "HOME=" + backend.AgentHome, "B=2"}
	agent := account{backend.AgentUID, backend.AgentUID, backend.AgentUser, backend.AgentHome}
	got := environment(base, []string{"B=3", "C=x=y"}, agent)
	if want := []string{"A=1", "HOME=" + backend.AgentHome, "B=3", "C=x=y"}; !slices.Equal(got, want) {
		t.Errorf("agent: %q, want %q", got, want)
	}
	root := strings.Join(environment(base, nil, account{0, 0, "root", "/root"}), " ")
	if !strings.Contains(root, "HOME=/root") || !strings.Contains(root, "USER=root") {
		t.Errorf("root: %q", root)
	}
}

func TestProcessLimit(t *testing.T) {
	for _, tc := range []struct{ pids, hard, soft, top uint64 }{
		{2048, ^uint64(0), 2048, 2048 + spareProcesses},
		{2048, 1000, 1000 - spareProcesses, 1000},
		{100, 1000, 100, 100 + spareProcesses},
		{100, 120, 120 - spareProcesses, 120},
		{100, 10, 1, 10},
	} {
		if got := processLimit(tc.pids, tc.hard); got.Cur != tc.soft || got.Max != tc.top {
			t.Errorf("processLimit(%d, %d) = %d, %d; want %d, %d", tc.pids, tc.hard, got.Cur, got.Max, tc.soft, tc.top)
		}
	}
}
