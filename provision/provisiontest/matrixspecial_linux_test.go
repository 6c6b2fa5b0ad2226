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

// blind demands that a Node that knows no proxy variables fails soon, and that
// the doctor says why.
func (m *matrix) blind(t *testing.T) {
	const old = `node -e 'const [a,b]=process.versions.node.split(".").map(Number); process.exit(a<22||a==22&&b<21||a==23?0:1)'`
	if _, code := m.run(t, backend.Command{Argv: []string{"sh", "-c", old}}, ""); code != 0 {
		t.Skip("the node of this host reads proxy variables, or there is none")
	}
	for _, mode := range []string{"fetch", "https"} {
		tag, start := "blind-"+mode, time.Now()
		out, _ := m.run(t, backend.Command{Argv: []string{"node", "drive.mjs", mode}}, m.line(tag, "get")+"\n")
		if took := time.Since(start); took > failTime {
			t.Errorf("%s took %s to fail", mode, took)
		}
		if !strings.HasPrefix(out, "get error ") || len(m.origin.under(openPrefix+"/"+tag)) > 0 {
			t.Errorf("%s answers %q, and was to fail", mode, out)
		}
		t.Logf("%s: %s", mode, strings.TrimSpace(out))
	}
	out, code := m.run(t, backend.Command{Argv: trust.DoctorArgv()}, "")
	if code != 1 || !strings.Contains(out, "ignores proxy variables") {
		t.Errorf("the doctor ends with %d and does not explain it: %s", code, out)
	}
}
