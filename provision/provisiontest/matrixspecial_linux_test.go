package provisiontest

import (
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/trust"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// gits clones a part of a history, and demands that a push over HTTPS goes
// nowhere: neither git's, which is more than it sends in one piece, nor its
// second request alone.
func (m *matrix) gits(t *testing.T) {
	repo := m.url + openPrefix + "/git-special/repo.git"
	if out := m.sh(t, "cd $(mktemp -d) && git clone -q --depth 1 "+repo+" shallow && git -C shallow rev-list --count HEAD"); out != "1\n" {
		t.Errorf("the shallow clone has %q commits, want 1", out)
	}
	out, code := m.run(t, backend.Command{Argv: []string{"sh", "-c", "cd $(mktemp -d) && git clone -q " + repo + " work && cd work && head -c 2000000 /dev/urandom >large && " +
		"git add large && git -c user.name=a -c user.email=a@example.com commit -qm large && echo committed && git push -q origin HEAD:main"}}, "")
	if code == 0 || !strings.Contains(out, "committed") {
		t.Errorf("the push ended with %d: %s", code, out)
	}
	path := strings.TrimPrefix(repo, m.url)
	m.refused(t, sidecars.Decision{Host: originName, Path: path + "/info/refs", Reason: "git_push_refused"})
	m.sh(t, "curl -sS -o /dev/null --data-binary @upload -H 'Content-Type: application/x-git-receive-pack-request' "+repo+"/git-receive-pack")
	m.refused(t, sidecars.Decision{Host: originName, Path: path + "/git-receive-pack", Reason: "git_push_refused"})
	if got := m.origin.under(path + "/git-receive-pack"); len(got) > 0 {
		t.Errorf("the origin saw a push: %+v", got)
	}
}

// blindClients are programs that know no proxy, or were not told to use one.
func blindClients() []matrixClient {
	const old = `node -e 'const [a,b]=process.versions.node.split(".").map(Number); process.exit(a<22||a==22&&b<21||a==23?0:1)'`
	return []matrixClient{
		{name: "node-fetch", need: old, drive: "node drive.mjs fetch"},
		{name: "node-https", need: old, drive: "node drive.mjs https"},
		{name: "java", need: "command -v javac", drive: "env -u JAVA_TOOL_OPTIONS java Drive.java"},
		{name: "aiohttp", need: "/usr/bin/python3 -c 'import aiohttp'", drive: "sed s/trust_env=True/trust_env=False/ drive.py >/tmp/blind.py && /usr/bin/python3 /tmp/blind.py aiohttp"},
		{name: "lwp", need: "perl -MLWP::UserAgent -MLWP::Protocol::https -e1", drive: "sed 's/env_proxy => 1/env_proxy => 0/' drive.pl >/tmp/blind.pl && perl /tmp/blind.pl lwp"},
		{name: "socket", need: "test -x /usr/bin/python3", drive: `/usr/bin/python3 -c 'import socket
try: socket.create_connection(("` + originAddr + `", 443))
except OSError as e: print("get error", e)'`},
	}
}

// blind demands that a program without a way out fails soon, and that the doctor
// says why.
func (m *matrix) blind(t *testing.T) {
	for _, c := range m.present(t, blindClients()) {
		tag, start := "blind-"+c.name, time.Now()
		out, _ := m.run(t, backend.Command{Argv: []string{"sh", "-c", c.drive}}, m.line(tag, "get")+"\n")
		if took := time.Since(start); took > failTime {
			t.Errorf("%s took %s to fail", c.name, took)
		}
		if !strings.HasPrefix(out, "get error ") || len(m.origin.under(openPrefix+"/"+tag)) > 0 {
			t.Errorf("%s answers %q, and was to fail", c.name, out)
		}
		t.Logf("%s: %.200s", c.name, strings.TrimSpace(out))
		if !strings.HasPrefix(c.name, "node") {
			continue
		}
		if out, code := m.run(t, backend.Command{Argv: trust.DoctorArgv()}, ""); code != 1 || !strings.Contains(out, "ignores proxy variables") {
			t.Errorf("the doctor ends with %d and does not explain it: %s", code, out)
		}
	}
}

// control asks the same site by a name for which the policy refuses nothing:
// what the matrix looks for and must not find is found there.
func (m *matrix) control(t *testing.T) {
	cells := []string{"foreign", "path", "method", "secret"}
	var todo strings.Builder
	for _, cell := range cells {
		todo.WriteString(strings.Replace(m.line("control", cell), originName, controlName, 1) + "\n")
	}
	out, _ := m.run(t, backend.Command{Argv: []string{"sh", "drive.sh", "curl"}}, todo.String())
	for _, cell := range cells {
		seen := m.origin.under(cellPath("control", cell))
		if len(seen) != 1 || seen[0].Header.Get("Authorization") == "Bearer "+OriginToken {
			t.Errorf("%s: the origin saw %+v, want the request as it was sent: %s", cell, seen, out)
			continue
		}
		if own := seen[0].Header.Get("Authorization"); cell == "foreign" && own != "Bearer "+agentToken {
			t.Errorf("%s: the origin did not see the agent's own credential", cell)
		}
	}
}
