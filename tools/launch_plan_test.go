package tools

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func fullPlan() *provision.Plan {
	return &provision.Plan{
		ID: "npm-ab12c", Agent: "coder", Bottles: []string{"base", "npm"}, Label: "run npm",
		Backend: "linux", BackendSource: "default", Isolation: "namespace",
		Workspace: &provision.WorkspacePlan{Host: "/home/me/project", Guest: backend.GuestWorkspace, Survey: &provision.WorkspaceSurvey{
			Files: 3, Bytes: 2048, Skipped: []backend.Skip{{Path: ".env", Reason: "left out: an environment file"}}, SkippedMore: 1,
		}},
		Routes: []provision.RouteSummary{
			{Host: "packages.example", Allows: "GET or HEAD on any path", Matches: []provision.MatchSummary{{Methods: []string{"GET", "HEAD"}}}, From: "manifest"},
			{
				Host: "api.example", Ports: []int{443, 8443}, Allows: "any method on any path", Auth: "Bearer from $API_TOKEN", Private: []string{"10.0.0.0/8"},
				Rules: "at most 10 requests", From: "provider",
			},
		},
		Policy:    "only packages.example, api.example",
		EnvNames:  []string{"CI", "HOME", "HTTPS_PROXY", "TICKET"},
		Variables: []provision.VariableSummary{{Name: "CI", From: "manifest"}, {Name: "TICKET", From: "$TICKET"}},
		Missing:   []backend.Missing{{Name: "cgroup memory", Reason: "not delegated"}},
		Limits:    backend.Limits{CPUs: 1.5, MemoryBytes: 1 << 30, DiskBytes: 4 << 30, PIDs: 512},
		TTL:       90 * time.Minute,
		Steps:     []string{"reserve", "start-sidecar", "ready"},
		Services:  []sidecars.Service{sidecars.Egress},
		Digest:    "d1",

		BackendDetail: "namespaces, as root",
		Repositories: []provision.RepoSummary{
			{Name: "app", URL: "ssh://git@git.example/app.git", Key: "a key file of the host", Pinned: true},
			{Name: "lib", URL: "git@git.example:lib.git", Key: "made by gitea at launch with $FORGE"},
		},
		GitUser:    manifest.GitUser{Name: "A", Email: "a@example.com"},
		SubBottles: &provision.SubBottlesPlan{Max: 3, Depth: 1},
		Publish:    []int{80, 3000},
	}
}

func TestPlanText(t *testing.T) {
	const want = `Plan for bottle npm-ab12c; nothing was started.
Manifests: agent coder, bottle base + npm.
Backend: linux (namespaces, as root), the first of this platform's that works; isolation: namespace; image: its own system.
Egress, through the proxy alone:
  packages.example: GET or HEAD on any path
  api.example port 443, 8443: any method on any path; the proxy adds Bearer from $API_TOKEN, which stays outside; at most 10 requests; from the provider; may be at 10.0.0.0/8
Refused: every other host, port and request; direct connections; DNS.
Environment: CI (manifest), TICKET ($TICKET); and 2 variables for programs, proxy and trust.
Files: /home/me/project (3 files, 2.0 KiB) would be copied to ` + backend.GuestWorkspace + `; changes there reach the host only by a copy out.
Left out 2 entries:
- .env: left out: an environment file
- and 1 more
Repository app: ssh://git@git.example/app.git through the git gate; its key, a key file of the host, stays outside.
Repository lib: git@git.example:lib.git through the git gate; its key, made by gitea at launch with $FORGE, stays outside; the upstream's host key is not known, so nothing is forwarded.
Commits are by A <a@example.com>.
The agent may launch bottles itself: 3 at one time, 1 generation, each within this one's policy.
The host may reach the guest's ports 80, 3000.
Limits: 1.5 CPUs, 1.0 GiB memory, 4.0 GiB disk, 512 processes and threads. Life: 1 h 30 min.
Services: egress. Steps: reserve, start-sidecar, ready.
Not in force on this host: cgroup memory (not delegated).`
	if got := PlanText(fullPlan()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPlanTextOfLittle(t *testing.T) {
	p := &provision.Plan{ID: "b", Bottles: []string{"default"}, Backend: "linux", BackendSource: "BOT_BOTTLE_BACKEND", Image: "img\x1b[2J", Services: []sidecars.Service{sidecars.Egress}}
	got := PlanText(p)
	contains(t, got, "bottle default.", "from BOT_BOTTLE_BACKEND", `image: img\x1b[2J`, "no host can be reached", "every connection", "nothing of yours", "none are copied", "the engine's own")
	if strings.Contains(got, "\x1b") {
		t.Error("a control character is shown raw")
	}
	p.BackendSource = "explicit"
	contains(t, PlanText(p), "which the call, the manifest or the operator named")
}

func TestPlanTextIsBounded(t *testing.T) {
	p := fullPlan()
	for i := range 500 {
		p.Routes = append(p.Routes, provision.RouteSummary{Host: fmt.Sprintf("h%d.example", i), Allows: strings.Repeat("x", 1000)})
		p.Variables = append(p.Variables, provision.VariableSummary{Name: fmt.Sprintf("V%d", i), From: "manifest"})
		p.EnvNames = append(p.EnvNames, fmt.Sprintf("V%d", i))
	}
	got := PlanText(p)
	contains(t, got, "and 462 hosts more", "462 more")
	if len(got) > 32<<10 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestPlanData(t *testing.T) {
	raw, err := json.Marshal(PlanData(fullPlan()))
	if err != nil {
		t.Fatal(err)
	}
	var out launchOutput
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	if !out.DryRun || out.State != "planned" || out.Routes[0].Allows != "GET or HEAD on any path" || out.Plan.BackendSource != "default" ||
		len(out.Plan.Variables) != 2 || out.Plan.Variables[1].From != "$TICKET" || len(out.Report.Missing) != 1 || out.Workspace != "/home/me/project" ||
		len(out.Routes[0].Matches) != 1 || out.Routes[0].Matches[0].Methods[1] != "HEAD" || out.Routes[1].Rules != "at most 10 requests" || out.Routes[1].From != "provider" ||
		len(out.Plan.Repositories) != 2 || !out.Plan.Repositories[0].Pinned || out.Plan.GitUser.Email != "a@example.com" || out.Plan.SubBottles.Max != 3 ||
		len(out.Plan.Publish) != 2 || out.Plan.BackendDetail != "namespaces, as root" ||
		out.WorkspaceCopy == nil || out.WorkspaceCopy.Files != 3 || len(out.WorkspaceCopy.Skipped) != 1 || out.Setup != nil {
		t.Errorf("%s", raw)
	}
}
