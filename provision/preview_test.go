package provision

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func TestPlanPreview(t *testing.T) {
	b, _ := fullBed(t)
	b.bottleFile("seen", strings.Join([]string{
		`env: {LITERAL: "hidden-value", TICKET: "?", COPIED: "${FROM_HOST}"}`,
		"egress:",
		"  routes:",
		"    - host: all.example.com",
		"    - host: read.example.com",
		"      matches: [{ methods: [GET, HEAD] }, { methods: [POST], paths: [{ type: prefix, value: /v1/search }] }]",
		"    - host: git.example.com",
		"      git: { fetch: true }",
	}, "\n"))
	b.env["FROM_HOST"] = "hidden-copy"
	p := b.plan(LaunchRequest{Bottles: []string{"seen"}, Env: map[string]string{"TICKET": "hidden-answer"}})

	want := []VariableSummary{{"COPIED", "$FROM_HOST"}, {"LITERAL", "manifest"}, {"TICKET", "request"}}
	if !reflect.DeepEqual(p.Variables, want) {
		t.Errorf("variables are %+v, want %+v", p.Variables, want)
	}
	allows := []string{}
	for _, r := range p.Routes {
		allows = append(allows, r.Host+": "+r.Allows)
	}
	wantAllows := []string{
		"all.example.com: any method on any path",
		"read.example.com: GET or HEAD on any path, or POST on /v1/search and below",
		"git.example.com: any method on any path; git fetch",
	}
	if !reflect.DeepEqual(allows, wantAllows) {
		t.Errorf("routes are\n%s\nwant\n%s", strings.Join(allows, "\n"), strings.Join(wantAllows, "\n"))
	}
	if p.BackendSource != "default" {
		t.Errorf("the backend comes from %q", p.BackendSource)
	}
	data, err := json.Marshal(p)
	if err != nil || strings.Contains(string(data), "hidden-") {
		t.Errorf("%v: the plan holds a value:\n%s", err, data)
	}
}

func TestPlanSaysWhoChoseTheBackend(t *testing.T) {
	for source, req := range map[string]LaunchRequest{
		"default":  {Bottles: []string{"full"}},
		"explicit": {Bottles: []string{"full"}, Backend: "linux"},
	} {
		b, _ := fullBed(t)
		if p := b.plan(req); p.BackendSource != source {
			t.Errorf("%+v: the backend comes from %q, want %q", req, p.BackendSource, source)
		}
	}
	b, _ := fullBed(t)
	b.env[envBackend] = "linux"
	if p := b.plan(LaunchRequest{Bottles: []string{"full"}}); p.BackendSource != envBackend {
		t.Errorf("the backend comes from %q, want %q", p.BackendSource, envBackend)
	}
}

// TestPlanIsData: what the words of a plan say stands in it as data, without a
// header's value and without a key's path.
func TestPlanIsData(t *testing.T) {
	b := agentBed(t, ", auth_token: TOKEN")
	b.fake.caps.Services = append(b.fake.caps.Services, sidecars.GitGate, sidecars.Bottles)
	b.fake.caps.Detail = "an engine in memory"
	b.bottleFile("made", `agent_provider: {template: mine, auth_token: TOKEN}
egress:
  routes:
    - host: read.example.com
      matches: [{methods: [GET], paths: [{type: prefix, value: /v1}], headers: [{name: X-Team, value: hidden-value}]}]
      git: {fetch: true}
git-gate:
  user: {name: A, email: a@example.com}
  repos:
    app: {url: "ssh://git@git.example.com/app.git", identity: /hidden-path/key}
    lib: {url: "git@git.example.com:lib.git", key: {provider: gitea, forge_token_env: FORGE}, host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"}
sub_bottles: {max: 2}`)
	b.setenv("FORGE", secretToken)
	p := b.plan(LaunchRequest{Agent: "worker"})
	want := MatchSummary{Methods: []string{"GET"}, Paths: []sidecars.PathMatch{{Type: "prefix", Value: "/v1"}}, Headers: []string{"X-Team"}}
	if r := p.Routes[0]; len(r.Matches) != 1 || !reflect.DeepEqual(r.Matches[0], want) || !r.GitFetch || r.From != "manifest" {
		t.Errorf("the manifest's route is %+v", r)
	}
	if r := p.Routes[len(p.Routes)-1]; r.Host != "api.example.com" || r.From != "provider" || r.Auth != "Bearer from $TOKEN" {
		t.Errorf("the provider's route is %+v", r)
	}
	repos := []RepoSummary{
		{Name: "app", URL: "ssh://git@git.example.com/app.git", Key: "a key file of the host"},
		{Name: "lib", URL: "git@git.example.com:lib.git", Key: "made by gitea at launch with $FORGE", Pinned: true},
	}
	if !reflect.DeepEqual(p.Repositories, repos) || p.GitUser.Name != "A" || *p.SubBottles != (SubBottlesPlan{Max: 2, Depth: 1}) || p.BackendDetail != "an engine in memory" {
		t.Errorf("the plan is %+v, %+v, %+v", p.Repositories, p.GitUser, p.SubBottles)
	}
	data, err := json.Marshal(p)
	if err != nil || strings.Contains(string(data), "hidden-") || strings.Contains(string(data), secretToken) {
		t.Errorf("%v: the plan holds a value:\n%s", err, data)
	}
}
