package provision

import (
	"cmp"
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

// TestSelfTestSpecOfGuests shows that a guest is probed for what its backend
// says of it.
func TestSelfTestSpecOfGuests(t *testing.T) {
	machine := backend.GuestFacts{OwnKernel: true, Network: true, NoNewPrivs: true, Interfaces: []string{"lo", "eth0"}, InitName: "init"}
	tests := map[string]struct {
		guest        backend.GuestFacts
		canary, home string
		want         string // Spec.Canary
		homeProbed   bool
	}{
		"no network":         {backend.GuestFacts{Interfaces: []string{"lo"}, Seccomp: true}, "198.51.100.1", "/home/tester", "", true},
		"network":            {machine, "198.51.100.1", "/home/tester", "198.51.100.1", true},
		"network, no canary": {machine, "", "/Users/tester", "1.1.1.1", true},
		"root's home":        {machine, "", "/root", "1.1.1.1", false},
		"root's, no machine": {backend.GuestFacts{}, "", "/root", "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, req := fullBed(t)
			b.fake.caps.Guest = tt.guest
			b.setenv("HOME", tt.home)
			b.Manager.cfg.Canary = cmp.Or(tt.canary, b.Manager.cfg.Canary)
			var mu sync.Mutex
			var spec selftest.Spec
			b.fake.probe = func(s selftest.Spec, _ string, w io.Writer) int {
				mu.Lock()
				defer mu.Unlock()
				spec = s
				return answer(s, w, "")
			}
			b.launch(req)
			if spec.Canary != tt.want || spec.Network != tt.guest.Network || spec.OwnKernel != tt.guest.OwnKernel ||
				spec.InitName != tt.guest.InitName || spec.Require.NoNewPrivs != tt.guest.NoNewPrivs ||
				spec.Require.Seccomp == 0 == tt.guest.Seccomp || !slices.Equal(spec.ExpectInterfaces, tt.guest.Interfaces) {
				t.Errorf("spec is %+v", spec)
			}
			if probed := slices.Contains(spec.SecretPaths, filepath.Join(tt.home, ".ssh")); probed != tt.homeProbed {
				t.Errorf("the home's .ssh is probed: %v", probed)
			}
		})
	}
}

func TestServedPorts(t *testing.T) {
	tests := map[string]struct {
		at   backend.Endpoints
		want []int
	}{
		"proxy alone":  {backend.Endpoints{Egress: "http://192.168.64.3:9099"}, nil},
		"all":          {backend.Endpoints{Egress: "http://192.168.64.3:9099", Supervise: "http://192.168.64.3:9100/mcp", GitGate: "git://192.168.64.3:9418"}, []int{9100, 9418}},
		"another host": {backend.Endpoints{Egress: "http://192.168.64.3:9099", Supervise: "http://192.168.64.4:9100"}, nil},
		"no port":      {backend.Endpoints{Egress: "http://192.168.64.3:9099", Supervise: "http://192.168.64.3"}, nil},
		"malformed":    {backend.Endpoints{Egress: "://", Supervise: "http://192.168.64.3:9100"}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := servedPorts(tt.at); !slices.Equal(got, tt.want) {
				t.Errorf("ports %v, want %v", got, tt.want)
			}
		})
	}
}

func TestIsolationErrorSaysWhatToDo(t *testing.T) {
	red := func(name, as, detail string) Check { return Check{Name: name, As: as, Detail: detail} }
	green := Check{Name: "dns", As: "agent", OK: true, Detail: "fine"}
	tests := map[string]struct {
		checks []Check
		has    []string
		lacks  string
	}{
		"network": {
			[]Check{green, red("gateway", "agent", "192.168.64.1 accepted 22"), red("gateway", "root", "192.168.64.1 accepted 22")},
			[]string{"gateway as agent and root (192.168.64.1 accepted 22)", "use the socket", "doctor"}, "dns",
		},
		"differently": {
			[]Check{red("peers", "agent", "a"), red("peers", "root", "b")},
			[]string{"peers as agent (a); peers as root (b)", "use the socket"}, "agent and root",
		},
		"no network": {[]Check{green, red("capabilities", "root", "held")}, []string{"capabilities as root (held)", "doctor"}, "use the socket"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := (&IsolationError{Report: Report{Checks: tt.checks}, Advice: "use the socket."}).Error()
			for _, has := range tt.has {
				if !strings.Contains(text, has) {
					t.Errorf("%q lacks %q", text, has)
				}
			}
			if strings.Contains(text, tt.lacks) {
				t.Errorf("%q has %q", text, tt.lacks)
			}
		})
	}
}

// TestAdviceOfTheBackend follows the advice from the backend to the error.
func TestAdviceOfTheBackend(t *testing.T) {
	b, req := fullBed(t)
	b.fake.caps.Guest = backend.GuestFacts{Network: true, Advice: "set TOPOLOGY=socket"}
	b.fake.probe = func(s selftest.Spec, _ string, w io.Writer) int { return answer(s, w, "gateway") }
	_, err := b.Launch(t.Context(), b.plan(req), nil)
	if err == nil || !strings.Contains(err.Error(), "set TOPOLOGY=socket") {
		t.Errorf("error %v", err)
	}
}

func TestCanaryMustBeAnAddress(t *testing.T) {
	b, _ := fullBed(t)
	cfg := b.Manager.cfg
	for _, canary := range []string{"one.one.one.one", "1.1.1", "1.1.1.1:53", " "} {
		cfg.Canary = canary
		if _, err := NewManager(cfg); err == nil || !strings.Contains(err.Error(), "not an IP address") {
			t.Errorf("canary %q: %v", canary, err)
		}
	}
	cfg.Canary = "2606:4700:4700::1111"
	if _, err := NewManager(cfg); err != nil {
		t.Error(err)
	}
}
