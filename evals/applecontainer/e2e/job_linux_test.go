package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world/internet"
	"github.com/bottle-mcp/bottle-mcp/evals/drive"
)

// job is the operator's policy: one host, with a credential that the agent
// never sees.
const job = `egress:
  routes:
    - {host: ` + world.AllowedName + `, auth: {scheme: Bearer, token_ref: OPERATOR_TOKEN}}
ttl: 1h`

// Places in every guest.
const (
	guestBinary    = "/.bottle/bottle-mcp"
	guestWorkspace = "/home/agent/workspace"
)

// fetch is a client in the guest that knows nothing but its environment.
func fetch(url string) []string { return []string{guestBinary, "fetch", url} }

// TestMainJob is the whole job over MCP: build, launch, exec, cp, the sidecar's
// port, egress allowed and refused, list, cleanup.
func TestMainJob(t *testing.T) {
	for _, topology := range []string{"two-network", "socket"} {
		t.Run(topology, func(t *testing.T) {
			m := newMac(t, map[string]string{"BOTTLE_MCP_MACOS_TOPOLOGY": topology})
			m.manifest("job", job+"\nagent_provider: {dockerfile: "+filepath.Join(m.world.BuildContext(t), "Dockerfile")+"}")
			h := m.serve()
			var first drive.Launch
			h.must("launch", map[string]any{"id": "first", "bottles": []string{"job"}}, &first)
			if first.State != "running" || first.Report.Failed != 0 || first.Report.Passed < 30 {
				t.Fatalf("launched as %+v", first)
			}
			if r := h.exec("first", "cat", "/built", "/home/agent/greeting"); r.Stdout != "built\nhello from the build context\n" {
				t.Errorf("the image was not built from the Dockerfile: %+v", r)
			}
			m.provisioned(h, "first")
			m.egress(h, "first")
			m.files(h, "first")
			m.sidecarAlone(h, "first")
			m.secretStays(h, "first")
			h.must("cleanup", map[string]any{"ids": []string{"first"}}, nil)
			// The images stay: the second launch builds nothing.
			before := m.world.Engine(t)
			var second drive.Launch
			h.must("launch", map[string]any{"id": "second", "bottles": []string{"job"}}, &second)
			t.Logf("%s: launch %s, image %s, sidecar %s, agent %s, self-test %s", topology, total(second),
				second.Step("prepare-image"), second.Step("start-sidecar"), second.Step("start-agent"), second.Step("self-test"))
			h.must("cleanup", map[string]any{"all": true}, nil)
			m.untouched(before)
		})
	}
}

func total(l drive.Launch) (sum string) {
	var ms float64
	for _, s := range l.Steps {
		ms += s.ElapsedMS
	}
	return (drive.Launch{Steps: []struct {
		Step      string  `json:"step"`
		ElapsedMS float64 `json:"elapsed_ms"`
	}{{Step: "all", ElapsedMS: ms}}}).Step("all").String()
}

// egress goes out to the allowed host with the operator's credential, and
// nowhere else.
func (m *mac) egress(h *host, id string) {
	t := m.t
	t.Helper()
	if r := h.exec(id, fetch("https://"+world.AllowedName+"/from-"+id)...); r.ExitCode != 0 {
		t.Errorf("the allowed host: %+v", r)
	}
	at := func(e internet.Event) bool { return e.Kind == internet.KindHTTP && e.Path == "/from-"+id }
	seen := m.world.AwaitEvent(t, at)
	if !seen.TLS || seen.Host != world.AllowedName || seen.Header.Get("Authorization") != "Bearer "+secretToken {
		t.Errorf("the origin saw %+v", seen)
	}
	r := h.exec(id, fetch("https://"+world.RefusedName+"/")...)
	if r.ExitCode == 0 || len(r.EgressRefusals) == 0 || r.EgressRefusals[0].Host != world.RefusedName || r.EgressRefusals[0].HowToAsk == "" {
		t.Errorf("the refused host: %+v", r)
	}
	if events := m.world.Events(t, func(e internet.Event) bool { return e.Host == world.RefusedName || e.Name == world.RefusedName }); len(events) > 0 {
		t.Errorf("the refused host was reached: %+v", events)
	}
}

// files go in and come out, with an owner and a mode that work.
func (m *mac) files(h *host, id string) {
	t := m.t
	t.Helper()
	src := filepath.Join(m.home, "src")
	for name, mode := range map[string]os.FileMode{"run.sh": 0o755, "deep/er/data": 0o600} {
		path := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho ran in $PWD\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	h.must("cp", map[string]any{"id": id, "from": src, "to": "bottle:/home/agent/workspace/src"}, nil)
	if r := h.exec(id, "./src/run.sh"); r.Stdout != "ran in "+guestWorkspace+"\n" {
		t.Errorf("a copied script: %+v", r)
	}
	if r := h.exec(id, "stat", "-c", "%u:%g %a", "src/deep/er/data"); r.Stdout != "1000:1000 600\n" {
		t.Errorf("a copied file is %q, %q", r.Stdout, r.Stderr)
	}
	h.exec(id, "sh", "-c", "echo result > out && chmod 640 out")
	back := filepath.Join(m.home, "out-"+id)
	h.must("cp", map[string]any{"id": id, "from": "bottle:/home/agent/workspace/out", "to": back}, nil)
	if data, err := os.ReadFile(back); err != nil || string(data) != "result\n" {
		t.Errorf("copied out: %q, %v", data, err)
	}
}

// sidecarAlone asks what else the agent reaches of its sidecar and its host.
func (m *mac) sidecarAlone(h *host, id string) {
	t := m.t
	t.Helper()
	var l struct {
		Bottles []struct {
			ID        string            `json:"id"`
			State     string            `json:"state"`
			Endpoints map[string]string `json:"endpoints"`
		} `json:"bottles"`
	}
	h.must("list", nil, &l)
	if len(l.Bottles) != 1 || l.Bottles[0].State != "running" {
		t.Fatalf("list: %+v", l)
	}
	if r := h.exec(id, fetch("http://_egress.local/healthz")...); strings.TrimSpace(r.Stdout) != "ok "+id {
		t.Errorf("the sidecar's port: %+v", r)
	}
	for _, what := range []string{world.PublicAddress + " 443", world.HostAddress + " 8080", "1.1.1.1 80"} {
		r := h.exec(id, "sh", "-c", "nc -w 2 "+what+" </dev/null")
		if r.ExitCode == 0 {
			t.Errorf("%s is reached directly: %+v", what, r)
		}
	}
}

// secretStays looks for the credential everywhere in the guest, and for what
// is left of it on the host.
func (m *mac) secretStays(h *host, id string) {
	t := m.t
	t.Helper()
	look := "env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; grep -r " + secretToken[:6] + " / --exclude-dir=proc --exclude-dir=sys 2>/dev/null; exit 0"
	for _, user := range []string{"agent", "root"} {
		var r drive.Exec
		h.must("exec", map[string]any{"id": id, "command": []string{"sh", "-c", look}, "user": user}, &r)
		if strings.Contains(r.Stdout, secretToken) {
			t.Errorf("as %s the credential is in the guest", user)
		}
	}
	err := filepath.WalkDir(filepath.Join(m.home, "state"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), secretToken) || strings.Contains(string(data), "PRIVATE KEY-----\n") && filepath.Base(path) != "bottle-mcp" {
			t.Errorf("a secret is left in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, c := range m.world.CallLog(t) {
		if strings.Contains(strings.Join(c.Argv, " "), secretToken) {
			t.Errorf("the credential is on a command line: %q", c.Argv[:2])
		}
	}
}

// TestProbe is README's first command on a Mac.
func TestProbe(t *testing.T) {
	for _, topology := range []string{"two-network", "socket"} {
		t.Run(topology, func(t *testing.T) {
			m := newMac(t, map[string]string{"BOTTLE_MCP_MACOS_TOPOLOGY": topology})
			out, err := m.run("probe")
			if err != nil || !strings.Contains(out, "macos-container") {
				t.Errorf("%v: %s", err, out)
			}
			if out, err := m.run("doctor"); err != nil || !strings.Contains(out, "topology "+topology) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestGateRefused has a bottle that declares repositories: nothing is created.
func TestGateRefused(t *testing.T) {
	m := newMac(t, nil)
	m.manifest("gate", "git-gate: {repos: {app: {url: \"ssh://git@example.com/app.git\", identity: ~/.ssh/id_ed25519}}}")
	before := m.world.Engine(t)
	err := m.serve().call("launch", map[string]any{"bottles": []string{"gate"}}, nil)
	refusedWith(t, err, "git-gate", "app", "keys")
	for _, c := range m.world.CallLog(t) {
		if len(c.Argv) > 0 && (c.Argv[0] == "run" || c.Argv[0] == "build" || c.Argv[0] == "create") || len(c.Argv) > 1 && c.Argv[1] == "create" {
			t.Errorf("something was made: %q", c.Argv)
		}
	}
	m.untouched(before)
}

// TestBuildFails shows the build's last words, and leaves nothing.
func TestBuildFails(t *testing.T) {
	m := newMac(t, nil)
	m.manifest("bad", "agent_provider: {dockerfile: "+filepath.Join(m.world.BuildContext(t), "Dockerfile.fails")+"}")
	h := m.serve()
	before := m.world.Engine(t)
	err := h.call("launch", map[string]any{"bottles": []string{"bad"}}, nil)
	refusedWith(t, err, "the last words", "prepare-image")
	// The builder stays, for the next build.
	for _, left := range m.world.Engine(t).Since(before) {
		if strings.HasPrefix(left, "container ") && !strings.Contains(left, "buildkit") || strings.Contains(left, "bot-bottle") {
			t.Errorf("left behind: %s", left)
		}
	}
}
