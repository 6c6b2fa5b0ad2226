package provision

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
)

// mine is an operator's own provider, whose program every host has.
const mine = `
description: Mine
program: {name: sh, install: install sh}
env: {MINE_QUIET: "1"}
routes: [{host: docs.example.com}]
auth_token:
  scheme: Bearer
  route: {host: api.example.com, matches: [{methods: [POST]}]}
  env: {MINE_TOKEN: placeholder-token}
forward_host_credentials:
  format: codex
  scheme: Bearer
  route: {host: api.example.com}
prompt: {file: .mine/prompt.md, argv: [--prompt, "{{prompt_file}}"]}
skills: .mine/skills
files:
  - {path: .mine/config.json, format: json, content: {trust: "{{workspace}}", title: "{{label}}"}}
  - {path: .mine/run.sh, mode: "0755", content: "#!/bin/sh\n"}
supervise: {argv: [sh, -c, "register {{supervise_url}}"]}
interactive: {argv: [sh], prompt: argument}
headless: {argv: [sh, -s], prompt: stdin}
`

// agentBed has the provider mine, a bottle for it and an agent with a skill.
func agentBed(t *testing.T, settings string) *bed {
	t.Helper()
	b := newBed(t)
	home := t.TempDir()
	b.setenv("HOME", home)
	b.setenv("TOKEN", secretToken)
	put(t, b.home, "contrib/mine/provider.yaml", mine)
	b.bottleFile("made", "agent_provider: {template: mine"+settings+"}\negress:\n  routes:\n    - {host: api.example.com, ports: [8443]}\n    - {host: other.example.com}")
	put(t, b.home, "agents/worker.md", "---\nbottle: made\nskills: [review]\n---\nYou review.\n")
	put(t, home, ".claude/skills/review/SKILL.md", "# review")
	put(t, home, ".claude/skills/review/bin/check", "#!/bin/sh\n")
	put(t, home, ".claude/skills/review/empty", "")
	if err := os.Chmod(filepath.Join(home, ".claude/skills/review/bin/check"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../SKILL.md", filepath.Join(home, ".claude/skills/review/bin/inner")); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bed) homeDir() string {
	home, _ := b.lookup("HOME")
	return home
}

func TestAgentPlan(t *testing.T) {
	b := agentBed(t, ", auth_token: TOKEN")
	p := b.plan(LaunchRequest{Agent: "worker", Label: `my "task"`, Prompt: "do it"})
	a := p.Provider
	if a == nil || a.Provider != "mine" || a.Login != "Bearer from $TOKEN to api.example.com" {
		t.Fatalf("plan %+v", a)
	}
	for what, lists := range map[string][2][]string{
		"replaced":    {a.Replaces, {"api.example.com"}},
		"variables":   {a.EnvNames, {"MINE_QUIET", "MINE_TOKEN"}},
		"files":       {a.Files, {"/home/agent/.mine/config.json", "/home/agent/.mine/run.sh"}},
		"skills":      {a.Skills, {"review"}},
		"interactive": {a.Interactive.Argv, {"sh", "--prompt", "/home/agent/.mine/prompt.md"}},
		"headless":    {a.Headless.Argv, {"sh", "-s", "--prompt", "/home/agent/.mine/prompt.md"}},
		"places":      {{a.PromptFile, a.TaskFile, a.SkillsDir}, {"/home/agent/.mine/prompt.md", taskFile, "/home/agent/.mine/skills"}},
		"steps":       {p.Steps, {"reserve", "render", "start-sidecar", "wire-environment", "start-agent", "self-test", "configure", "write-provider-files", "write-skills", "write-prompt", "ready"}},
	} {
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("%s: %q, want %q", what, lists[0], lists[1])
		}
	}
	var hosts []string
	for _, r := range p.Routes {
		hosts = append(hosts, r.Host+" "+r.Auth+fmt.Sprint(r.Ports))
	}
	if want := []string{"other.example.com []", "docs.example.com []", "api.example.com Bearer from $TOKEN[]"}; !slices.Equal(hosts, want) {
		t.Errorf("routes %q", hosts)
	}
	from := map[string]string{}
	for _, v := range p.Variables {
		from[v.Name] = v.From
	}
	if from["MINE_TOKEN"] != "provider" || !slices.Contains(p.EnvNames, "MINE_TOKEN") {
		t.Errorf("variables %v", from)
	}
	narrow := b.plan(LaunchRequest{Agent: "worker", OnlyHosts: []string{"other.example.com"}})
	if len(narrow.Routes) != 1 || narrow.Routes[0].Auth != "" {
		t.Errorf("narrowed, the routes are %+v", narrow.Routes)
	}
}

func TestAgentLaunch(t *testing.T) {
	b := agentBed(t, ", auth_token: TOKEN")
	p := b.plan(LaunchRequest{Agent: "worker", Label: `my "task"`, Prompt: "do it", ID: "the-id"})
	live, err := b.Launch(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		text string
		mode fs.FileMode
	}{
		".mine/config.json":             {"{\n  \"title\": \"my \\\"task\\\"\",\n  \"trust\": \"/home/agent\"\n}\n", 0o600},
		".mine/run.sh":                  {"#!/bin/sh\n", 0o755},
		".mine/prompt.md":               {"You review.\n", 0o644},
		".bottle/task.md":               {"do it\n", 0o644},
		".mine/skills/review/SKILL.md":  {"# review", 0o644},
		".mine/skills/review/bin/check": {"#!/bin/sh\n", 0o755},
		".mine/skills/review/bin/inner": {"# review", 0o644},
		".mine/skills/review/empty":     {"", 0o644},
	} {
		path := b.fake.guest("the-id", filepath.Join(backend.AgentHome, name))
		data, err := os.ReadFile(path)
		if err != nil || string(data) != want.text {
			t.Errorf("%s holds %q, %v", name, data, err)
			continue
		}
		if info, err := os.Lstat(path); err != nil || info.Mode() != want.mode {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
	side, agent := b.fake.bottles["the-id"].sidecar, b.fake.bottles["the-id"].agent
	if len(side.Secrets.Tokens) != 1 || side.Secrets.Tokens["EGRESS_TOKEN_0"].Reveal() != secretToken {
		t.Errorf("credentials %v", side.Secrets.Tokens)
	}
	if !slices.Contains(agent.Env, "MINE_TOKEN=placeholder-token") || !slices.Contains(agent.Env, "MINE_QUIET=1") {
		t.Errorf("environment %v", agent.Env)
	}
	if live.Provider == nil || !slices.Equal(live.Provider.Headless.Argv, p.Provider.Headless.Argv) {
		t.Errorf("the bottle says %+v", live.Provider)
	}
	b.checkNoSecret()
	// Doing it again changes nothing.
	l := &launch{m: b.Manager, plan: p, r: p.resolved, note: func(string) {}}
	l.record.Endpoints = live.Endpoints
	for _, do := range []func() (string, error){
		func() (string, error) { return writeAgentFiles(t.Context(), l) },
		func() (string, error) { return writeSkills(t.Context(), l) },
		func() (string, error) { return writePrompt(t.Context(), l) },
	} {
		if text, err := do(); err != nil || text == "" {
			t.Errorf("the second time: %q, %v", text, err)
		}
	}
}

// codexLogin is a login that ends at a time.
func codexLogin(until time.Time) string {
	enc := base64.RawURLEncoding.EncodeToString
	token := enc([]byte(`{"alg":"x"}`)) + "." + enc(fmt.Appendf(nil, `{"exp":%d,"real":%q}`, until.Unix(), secretToken)) + "." + enc([]byte("signature"))
	return fmt.Sprintf(`{"tokens":{"id_token":%q,"access_token":%q,"refresh_token":%q,"account_id":"acc"}}`, token, token, secretToken)
}

func TestAgentHostLogin(t *testing.T) {
	b := agentBed(t, ", forward_host_credentials: true")
	const file = ".codex/auth.json"
	req := LaunchRequest{Agent: "worker", ID: "the-id", Principal: operator}
	plan := func() error { _, err := b.Plan(t.Context(), req); return err }
	for name, spoil := range map[string]struct {
		do   func()
		want string
	}{
		"missing": {func() {}, `agent_provider.forward_host_credentials of the manifest: the codex login of this host, `},
		"expired": {func() { put(t, b.homeDir(), file, codexLogin(time.Now().Add(-time.Hour))) }, `; run "codex login" on this host`},
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Remove(filepath.Join(b.homeDir(), file))
			spoil.do()
			err := plan()
			var login *provider.LoginError
			if !errors.As(err, &login) || !strings.Contains(err.Error(), spoil.want) || strings.Contains(err.Error(), secretToken) {
				t.Errorf("got %v", err)
			}
		})
	}
	put(t, b.homeDir(), file, codexLogin(time.Now().Add(time.Hour)))
	p := b.plan(req)
	if p.Provider.Login != "Bearer from this host's codex login to api.example.com" || !slices.Contains(p.Provider.Files, "/home/agent/.codex/auth.json") {
		t.Errorf("plan %+v", p.Provider)
	}
	put(t, b.homeDir(), file, codexLogin(time.Now().Add(2*time.Hour)))
	if renewed := b.plan(req); renewed.Digest != p.Digest {
		t.Error("a renewed login makes another bottle")
	}
	if _, err := b.Launch(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	token := b.fake.bottles["the-id"].sidecar.Secrets.Tokens["EGRESS_TOKEN_0"].Reveal()
	inside, err := os.ReadFile(b.fake.guest("the-id", "/home/agent/.codex/auth.json"))
	if err != nil || token == "" || strings.Contains(string(inside), token) || strings.Contains(string(inside), "cmVhbC") || !strings.Contains(string(inside), `"account_id": "acc"`) {
		t.Errorf("the guest has %s, %v", inside, err)
	}
	for _, dir := range []string{b.store.Path(), b.fake.dir} {
		if found := append(grep(t, dir, token), grep(t, dir, secretToken)...); len(found) > 0 {
			t.Errorf("the login is in %v", found)
		}
	}
}

func TestAgentRefused(t *testing.T) {
	skills := func(t *testing.T, b *bed, do func(dir string) error) {
		t.Helper()
		if err := do(filepath.Join(b.homeDir(), ".claude/skills/review")); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name, settings string
		req            LaunchRequest
		spoil          func(t *testing.T, b *bed)
		want           string
	}{
		{"unknown provider", "", LaunchRequest{}, func(t *testing.T, b *bed) { b.bottleFile("made", "agent_provider: {template: mein}") }, `there is no provider "mein"; did you mean "mine"?`},
		{"login without a provider", "", LaunchRequest{}, func(t *testing.T, b *bed) {
			b.bottleFile("made", "agent_provider: {auth_token: TOKEN}")
			put(t, b.home, "agents/worker.md", "---\nbottle: made\n---\n")
		}, "a login is declared for no agent"},
		{"login that the provider lacks", "", LaunchRequest{}, func(t *testing.T, b *bed) {
			b.bottleFile("made", "agent_provider: {template: generic, auth_token: TOKEN}")
		}, "agent_provider.auth_token of the manifest: the provider generic has no host of its own"},
		{"token not set", ", auth_token: GONE", LaunchRequest{}, nil, "the host variable GONE is not set"},
		{"broken provider", "", LaunchRequest{}, func(t *testing.T, b *bed) { put(t, b.home, "contrib/mine/provider.yaml", "nothing: 1\n") }, "provider.yaml:1: nothing: the key is not known"},
		{"reserved variable", "", LaunchRequest{}, func(t *testing.T, b *bed) {
			put(t, b.home, "contrib/mine/provider.yaml", "env: {HTTPS_PROXY: x}\nskills: s\ninteractive: {argv: [sh]}\n")
		}, "sets the variable HTTPS_PROXY, which is the bottle's own wiring"},
		{"credential in the placeholder's place", ", auth_token: TOKEN", LaunchRequest{}, func(t *testing.T, b *bed) {
			b.bottleFile("made", "env: {MINE_TOKEN: \"${TOKEN}\"}\nagent_provider: {template: mine, auth_token: TOKEN}")
		}, "env MINE_TOKEN of the manifest: the login of the provider mine puts a placeholder there"},
		{"request sets the placeholder", ", auth_token: TOKEN", LaunchRequest{Env: map[string]string{"MINE_TOKEN": "x"}}, nil, "env MINE_TOKEN: the provider of the agent sets this variable"},
		{"no such program", "", LaunchRequest{}, func(t *testing.T, b *bed) {
			put(t, b.home, "contrib/mine/provider.yaml", "skills: s\nprogram: {name: no-such-agent, install: get it}\ninteractive: {argv: [no-such-agent]}\n")
		}, `this host has no program "no-such-agent" in /usr/local/sbin`},
		{"hidden program", "", LaunchRequest{}, func(t *testing.T, b *bed) { b.fake.caps.Guest.HostDirs = []string{"/opt"} }, "which no guest sees, and backend linux runs this host's programs; install it for all users, below /usr: install sh"},
		{"colour", "", LaunchRequest{Colour: "beige"}, nil, `"beige" is no colour`},
		{"skill missing", "", LaunchRequest{}, func(t *testing.T, b *bed) { skills(t, b, os.RemoveAll) }, `there is no skill "review"`},
		{"skill without SKILL.md", "", LaunchRequest{}, func(t *testing.T, b *bed) {
			skills(t, b, func(dir string) error { return os.Remove(filepath.Join(dir, "SKILL.md")) })
		}, "it has no file SKILL.md"},
		{"skill that is a file", "", LaunchRequest{}, func(t *testing.T, b *bed) {
			skills(t, b, func(dir string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)) })
		}, `the skill "review" cannot be used: not a directory`},
		{"link out of the skill", "", LaunchRequest{}, func(t *testing.T, b *bed) {
			skills(t, b, func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "key")) })
		}, "key is a link that leads out of the skill or nowhere"},
		{"link upwards", "", LaunchRequest{}, func(t *testing.T, b *bed) {
			skills(t, b, func(dir string) error { return os.Symlink("../..", filepath.Join(dir, "up")) })
		}, "up is a link that leads out of the skill or nowhere"},
		{"link in a circle", "", LaunchRequest{}, func(t *testing.T, b *bed) {
			skills(t, b, func(dir string) error { return os.Symlink(".", filepath.Join(dir, "again")) })
		}, "too many levels of symbolic links"},
		{"huge file in a skill", "", LaunchRequest{}, func(t *testing.T, b *bed) {
			skills(t, b, func(dir string) error { return os.Truncate(filepath.Join(dir, "empty"), maxSkillFile+1) })
		}, "empty is larger than 8388608 bytes"},
		{"no place for skills", "", LaunchRequest{}, func(t *testing.T, b *bed) {
			put(t, b.home, "contrib/mine/provider.yaml", "interactive: {argv: [sh]}\n")
		}, "the provider mine has no place for skills"},
		{"no home", "", LaunchRequest{}, func(t *testing.T, b *bed) { b.setenv("HOME", "") }, "the variable HOME"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := agentBed(t, tt.settings)
			if tt.spoil != nil {
				tt.spoil(t, b)
			}
			tt.req.Agent, tt.req.Principal = "worker", operator
			_, err := b.Plan(t.Context(), tt.req)
			var plan *PlanError
			if !errors.As(err, &plan) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), secretToken) {
				t.Errorf("a credential is in %v", err)
			}
		})
	}
}

// TestAgentDigest holds that what decides the bottle decides the digest.
func TestAgentDigest(t *testing.T) {
	b := agentBed(t, ", auth_token: TOKEN")
	req := LaunchRequest{Agent: "worker", ID: "the-id", Prompt: "a"}
	first := b.plan(req).Digest
	if b.plan(req).Digest != first {
		t.Error("the same is not the same")
	}
	req.Prompt = "b"
	if b.plan(req).Digest == first {
		t.Error("another task is the same")
	}
	req.Prompt = "a"
	put(t, b.home, "contrib/mine/provider.yaml", mine+"image: x\n")
	if b.plan(req).Digest == first {
		t.Error("another provider is the same")
	}
}

// TestAgentWithoutTemplate gives skills a place and keeps everything else.
func TestAgentWithoutTemplate(t *testing.T) {
	b := agentBed(t, "")
	b.bottleFile("made", "env: {A: b}")
	p := b.plan(LaunchRequest{Agent: "worker", ID: "the-id"})
	if p.Provider.Provider != provider.Generic || p.Provider.SkillsDir != "/home/agent/.agents/skills" {
		t.Errorf("provider %+v", p.Provider)
	}
	put(t, b.home, "agents/worker.md", "---\nbottle: made\n---\nBody\n")
	if p := b.plan(LaunchRequest{Agent: "worker"}); p.Provider != nil {
		t.Errorf("provider %+v", p.Provider)
	}
}

// TestAgentSupervisor registers by a command, and lives with its failure.
func TestAgentSupervisor(t *testing.T) {
	for code, want := range map[int]string{0: ", supervisor registered", 3: ", the agent could not be told of the supervisor"} {
		b := agentBed(t, "")
		p := b.plan(LaunchRequest{Agent: "worker", ID: "the-id"})
		live, err := b.Launch(t.Context(), p, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		b.fake.command = func(cmd backend.Command, _ backend.Streams) backend.ExitStatus {
			got = cmd.Argv
			return backend.ExitStatus{Code: code}
		}
		l := &launch{m: b.Manager, plan: p, r: p.resolved}
		l.record.Endpoints = live.Endpoints
		l.record.Endpoints.Supervise = "http://127.0.0.1:9100/mcp"
		text, err := writeAgentFiles(t.Context(), l)
		if err != nil || !strings.HasSuffix(text, want) || !slices.Equal(got, []string{"sh", "-c", "register http://127.0.0.1:9100/mcp"}) {
			t.Errorf("%q, %v, ran %q", text, err, got)
		}
	}
}

// TestAgentImage builds a guest from the provider's own Dockerfile where the
// engine has images.
func TestAgentImage(t *testing.T) {
	b := agentBed(t, "")
	b.fake.caps.Images = true
	b.bottleFile("made", "agent_provider: {template: codex}")
	p := b.plan(LaunchRequest{Agent: "worker", ID: "the-id"})
	if p.Image != "the Dockerfile of provider codex" {
		t.Errorf("image %q", p.Image)
	}
	if _, err := b.Launch(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	file := b.fake.bottles["the-id"].agent.Image
	text, err := os.ReadFile(file)
	entries, _ := os.ReadDir(filepath.Dir(file))
	if err != nil || !strings.Contains(string(text), "@openai/codex") || len(entries) != 1 {
		t.Errorf("%s holds %q with %d beside it, %v", file, text, len(entries), err)
	}
	b.bottleFile("made", "image: mine\nagent_provider: {template: codex}")
	if p := b.plan(LaunchRequest{Agent: "worker"}); p.Image != "mine" {
		t.Errorf("the manifest's image is %q", p.Image)
	}
	put(t, b.home, "contrib/mine/provider.yaml", mine+"dockerfile: Dockerfile\n")
	own := put(t, b.home, "contrib/mine/Dockerfile", "FROM scratch\n")
	b.bottleFile("made", "agent_provider: {template: mine}")
	if p := b.plan(LaunchRequest{Agent: "worker"}); p.Image != own {
		t.Errorf("the operator's own Dockerfile is %q", p.Image)
	}
}

// TestSkillsInBatches brings more than one command takes.
func TestSkillsInBatches(t *testing.T) {
	b := agentBed(t, "")
	for i := range batchFiles + 20 {
		put(t, b.homeDir(), fmt.Sprintf(".claude/skills/review/many/%03d", i), strings.Repeat("x", i))
	}
	put(t, b.homeDir(), ".claude/skills/review/big-a", strings.Repeat("a", batchBytes-1))
	put(t, b.homeDir(), ".claude/skills/review/big-b", strings.Repeat("b", batchBytes-1))
	p := b.plan(LaunchRequest{Agent: "worker", ID: "the-id"})
	if _, err := b.Launch(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(b.fake.guest("the-id", "/home/agent/.mine/skills/review/many"))
	if err != nil || len(entries) != batchFiles+20 {
		t.Errorf("%d files, %v", len(entries), err)
	}
	for _, name := range []string{"big-a", "big-b"} {
		if info, err := os.Stat(b.fake.guest("the-id", "/home/agent/.mine/skills/review/"+name)); err != nil || info.Size() != batchBytes-1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
