package provision

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
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
