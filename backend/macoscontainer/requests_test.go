package macoscontainer

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
	"github.com/bottle-mcp/bottle-mcp/backend/vmguest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/pid1"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

func recordOf(b *Backend, topo topology) record {
	r := record{
		ID: "task", Owner: "me", Topology: topo, Services: []sidecars.Service{sidecars.Egress},
		Created: time.Now(), Expires: time.Now().Add(time.Hour),
	}
	if topo == socket {
		r.Sockets = b.socketDir(r.ID)
	}
	return r
}

func TestSidecarRequest(t *testing.T) {
	b := bed(t)
	two := b.sidecarRequest(recordOf(b, twoNetwork), "image", []netip.Addr{netip.MustParseAddr("192.0.2.53")})
	if !slices.Equal(two.Networks, []string{"bot-bottle-egress-task", "bot-bottle-task"}) {
		t.Errorf("networks %q: the NAT network must come first", two.Networks)
	}
	if !slices.Equal(two.DNS, []string{"192.0.2.53"}) || two.NoDNS || len(two.Sockets) != 0 || len(two.Publish) != 0 || !two.ReadOnly {
		t.Errorf("%+v", two)
	}
	if !slices.Equal(two.CapDrop, []string{"ALL"}) || slices.Contains(two.CapAdd, "NET_ADMIN") || slices.Contains(two.CapAdd, "NET_RAW") {
		t.Errorf("capabilities: drop %q, add %q", two.CapDrop, two.CapAdd)
	}
	if !slices.Contains(two.Env, "BOT_BOTTLE_SIDECAR_DAEMONS=egress") || len(two.Env) != 1 {
		t.Errorf("environment %q", two.Env)
	}
	one := b.sidecarRequest(recordOf(b, socket), "image", nil)
	if !slices.Equal(one.Networks, []string{"bot-bottle-egress-task"}) || len(one.Sockets) != 1 || one.ReadOnly {
		t.Errorf("%+v", one)
	}
}

func TestAgentRequest(t *testing.T) {
	b := bed(t)
	spec := backend.AgentSpec{ID: "task", Image: "image", Env: []string{"A=b"}, Limits: backend.Limits{CPUs: 1.5, MemoryBytes: 1 << 30, PIDs: 100}}
	for _, topo := range []topology{twoNetwork, socket} {
		t.Run(string(topo), func(t *testing.T) {
			req, err := b.agentRequest(recordOf(b, topo), spec)
			if err != nil {
				t.Fatal(err)
			}
			if req.UID == 0 || req.UID == backend.AgentUID || !req.NoDNS || !req.Init || !slices.Equal(req.CapDrop, []string{"ALL"}) || len(req.CapAdd) != 0 {
				t.Errorf("the walls: %+v", req)
			}
			if req.CPUs != 2 || req.MemoryBytes != 1<<30 || len(req.DNS) != 0 || len(req.Publish)+len(req.Sockets) != 0 {
				t.Errorf("%+v", req)
			}
			if nproc := "nproc=164:164"; vmguest.SpareProcesses == 64 && !slices.Contains(req.Ulimits, nproc) || !slices.Contains(req.Ulimits, "core=0:0") {
				t.Errorf("limits %q", req.Ulimits)
			}
			for _, m := range req.Mounts {
				if !m.ReadOnly && !strings.HasSuffix(m.Host, ".sock") {
					t.Errorf("%s is writable in the agent", m.Guest)
				}
			}
			if topo == socket && (len(req.Networks) != 0 || len(req.Mounts) != 2) || topo == twoNetwork && !slices.Equal(req.Networks, []string{"bot-bottle-task"}) {
				t.Errorf("networks %q, mounts %+v", req.Networks, req.Mounts)
			}
		})
	}
	t.Run("lifetime", func(t *testing.T) {
		r := recordOf(b, twoNetwork)
		r.Expires = time.Now().Add(365 * 24 * time.Hour)
		req, err := b.agentRequest(r, spec)
		if err != nil || !slices.Contains(req.Args, "2592000") {
			t.Errorf("%q, %v: it must end after _AGENT_SLEEP_SECONDS", req.Args, err)
		}
	})
	t.Run("little memory", func(t *testing.T) {
		small := spec
		small.Limits.MemoryBytes = 100 << 20
		if _, err := b.agentRequest(recordOf(b, twoNetwork), small); err == nil {
			t.Error("a memory that the engine refuses is accepted")
		}
	})
}

// TestBottlesRequests has the way to the host's MCP server be one socket for the
// sidecar, and for an agent without a network one more relay.
func TestBottlesRequests(t *testing.T) {
	b := bed(t)
	for _, topo := range []topology{twoNetwork, socket} {
		t.Run(string(topo), func(t *testing.T) {
			r := recordOf(b, topo)
			r.Services = append(r.Services, sidecars.Bottles)
			r.HostSocket = "/state/mcp/0123/mcp.sock"
			side := b.sidecarRequest(r, "image", nil)
			if !slices.Contains(side.Mounts, cli.Mount{Host: r.HostSocket, Guest: pid1.HostSocket}) || len(side.Mounts) != 2 {
				t.Errorf("the sidecar's mounts: %+v", side.Mounts)
			}
			if !slices.Contains(side.Env, "BOT_BOTTLE_SIDECAR_DAEMONS=egress,bottles") {
				t.Errorf("environment %q", side.Env)
			}
			agent, err := b.agentRequest(r, backend.AgentSpec{ID: "task", Image: "image"})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range agent.Mounts {
				if m.Host == r.HostSocket {
					t.Error("the agent has the host's socket")
				}
			}
			if topo == socket && (len(side.Sockets) != 2 || len(agent.Mounts) != 3 || !slices.Contains(agent.Args, "9101=/s/bottles.sock")) {
				t.Errorf("sockets %+v, mounts %+v, arguments %q", side.Sockets, agent.Mounts, agent.Args)
			}
		})
	}
}

func withWay(path, token string) func(*backend.SidecarSpec) {
	return func(s *backend.SidecarSpec) {
		s.Services = append(s.Services, sidecars.Bottles)
		s.HostSocket, s.Secrets.BottlesToken = path, secret.New(token)
	}
}

// TestAdmissible has what is refused before anything is created.
func TestAdmissible(t *testing.T) {
	cert, key, err := ca.NewAuthority("task", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*backend.SidecarSpec)
		want   string // "" = accepted
	}{
		{"good", func(*backend.SidecarSpec) {}, ""},
		{"repositories", func(s *backend.SidecarSpec) { s.Services = append(s.Services, sidecars.GitGate) }, gateReason},
		{"supervise", func(s *backend.SidecarSpec) { s.Services = append(s.Services, sidecars.Supervise) }, "cannot serve"},
		{"bottles", withWay("/s/mcp.sock", "token"), ""},
		{"bottles without a token", withWay("/s/mcp.sock", ""), "no token"},
		{"bottles without a socket", withWay("", "token"), "absolute path"},
		{"a socket that is no mount", withWay("/s:x/mcp.sock", "token"), "without ':'"},
		{"a long socket", withWay("/"+strings.Repeat("s", 103), "token"), "shorter --state-dir"},
		{"expired", func(s *backend.SidecarSpec) { s.Expires = time.Now() }, "expired"},
		{"id", func(s *backend.SidecarSpec) { s.ID = "../x" }, "not valid"},
		{"routes", func(s *backend.SidecarSpec) { s.Config.Routes = []sidecars.Route{{Host: "a b"}} }, "configure the sidecar"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := bed(t)
			b.cli = nil // any call would end the test
			spec := backend.SidecarSpec{
				ID: "task", Owner: "me", Services: []sidecars.Service{sidecars.Egress}, Expires: time.Now().Add(time.Hour),
				Config:  sidecars.Config{Bottle: "task", Routes: []sidecars.Route{}, CACert: string(cert)},
				Secrets: sidecars.Secrets{CAKey: key},
			}
			tt.change(&spec)
			err := b.admissible(t.Context(), spec)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error is %v, want %q", err, tt.want)
			}
			if tt.want != "" {
				if _, err := b.StartSidecar(t.Context(), spec); err == nil {
					t.Error("StartSidecar begins")
				}
				if names, _ := filepath.Glob(filepath.Join(b.cfg.BottlesDir, "*")); len(names) > 0 {
					t.Errorf("something was made: %q", names)
				}
			}
		})
	}
}
