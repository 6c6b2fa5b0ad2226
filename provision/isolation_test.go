package provision

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
)

func TestSelfTestVerdicts(t *testing.T) {
	type probe = func(spec selftest.Spec, user string, out io.Writer) int
	tests := []struct {
		name  string
		probe probe
		want  string
		red   bool
	}{
		{"red as agent", func(s selftest.Spec, u string, w io.Writer) int {
			return answer(s, w, map[string]string{"agent": "tcp4-direct"}[u])
		}, "tcp4-direct as agent", true},
		{"red as root", func(s selftest.Spec, u string, w io.Writer) int {
			return answer(s, w, map[string]string{"root": "mount"}[u])
		}, "mount as root", true},
		{"says nothing", func(selftest.Spec, string, io.Writer) int { return 0 }, "cannot be believed", false},
		{"garbage", func(_ selftest.Spec, _ string, w io.Writer) int { _, _ = io.WriteString(w, "\x00{"); return 0 }, "cannot be believed", false},
		{"a check is missing", func(_ selftest.Spec, _ string, w io.Writer) int { return answer(selftest.Spec{}, w, "") }, "cannot be believed", false},
		{"two results", func(s selftest.Spec, _ string, w io.Writer) int { return answer(s, w, "") + answer(s, w, "") }, "something follows", false},
		{"flood", func(_ selftest.Spec, _ string, w io.Writer) int {
			for range 1000 {
				_, _ = w.Write(make([]byte, 1000))
			}
			return 0
		}, "wrote more than", false},
		{"green result, red exit", func(s selftest.Spec, _ string, w io.Writer) int { answer(s, w, ""); return 1 }, "contradicts", false},
		{"red result, green exit", func(s selftest.Spec, _ string, w io.Writer) int { answer(s, w, "mount"); return 0 }, "contradicts", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, req := fullBed(t)
			b.fake.probe = tt.probe
			_, err := b.Launch(t.Context(), b.plan(req), nil)
			var failed *StepError
			var isolation *IsolationError
			if !errors.As(err, &failed) || failed.Step != "self-test" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v lacks %q", err, tt.want)
			}
			if errors.As(err, &isolation) != tt.red || tt.red && isolation.Report.Red != 1 {
				t.Errorf("isolation error: %v", isolation)
			}
			b.nothingLeft()
		})
	}
}

func TestSelfTestSpec(t *testing.T) {
	b, req := fullBed(t)
	var mu sync.Mutex
	specs := map[string]selftest.Spec{}
	b.fake.probe = func(s selftest.Spec, user string, w io.Writer) int {
		mu.Lock()
		defer mu.Unlock()
		specs[user] = s
		return answer(s, w, "")
	}
	live := b.launch(req)
	agent, root := specs["agent"], specs["root"]
	if agent.ExpectUID != backend.AgentUID || root.ExpectUID != 0 || agent.AllowedHost != "a.example.com" || agent.BottleID != string(live.ID) ||
		agent.ProxyURL != "http://127.0.0.1:9099" || !slices.Equal(agent.HostAddresses, []string{"192.0.2.7", "192.0.2.8"}) {
		t.Errorf("specs are %+v", specs)
	}
	for _, path := range []string{b.store.Path(), b.home, "/home/tester", "/home/tester/.ssh", "/etc/shadow"} {
		if !slices.Contains(agent.SecretPaths, path) {
			t.Errorf("%s is not probed", path)
		}
	}
	b.fake.caps.MultiUser = false
	specs = map[string]selftest.Spec{}
	b.setenv("HOME", filepath.Join(backend.AgentHome, "x"))
	b.launch(LaunchRequest{})
	if len(specs) != 1 || slices.ContainsFunc(specs["agent"].SecretPaths, func(p string) bool { return strings.HasPrefix(p, backend.AgentHome) }) {
		t.Errorf("specs with one user are %+v", specs)
	}
}
