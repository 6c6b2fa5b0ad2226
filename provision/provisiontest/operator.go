package provisiontest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// likeAgent is set up as coding agents are; its host is the origin.
const likeAgent = `
description: A program that does what a coding agent does at its start
env: {AGENT_DIR: "{{home}}/.like"}
auth_token:
  scheme: Bearer
  route: {ROUTE, MATCHES}
  env: {AGENT_TOKEN: HELD}
forward_host_credentials:
  format: claude
  scheme: Bearer
  route: {ROUTE}
prompt: {file: .like/prompt.md, argv: [--system-prompt-file, "{{prompt_file}}"]}
skills: .like/skills
files:
  - path: .like/config.json
    format: json
    content: {trusted: "{{workspace}}", label: "{{label}}", user: "{{user}}"}
  - path: .like/agent
    mode: "0755"
    content: |
`

// likeAgentProgram shows what it finds, and asks its host for something with
// whatever it has for a credential.
const likeAgentProgram = `#!/bin/sh
echo "arguments: $*"
echo "prompt: $(cat "$3")"
echo "task: $(cat)"
echo "skill: $(cat ~/.like/skills/review/SKILL.md) $(~/.like/skills/review/bin/check)"
echo "config: $(tr -d '\n' < ~/.like/config.json)"
echo "variable: $AGENT_TOKEN in $AGENT_DIR"
echo "place: $(pwd -P)"
token=$AGENT_TOKEN
[ -n "$token" ] || token=$(sed -n 's/.*"accessToken": "\(.*\)".*/\1/p' ~/.claude/.credentials.json)
echo "token: $token"
[ -z "URL" ] || curl -sS -H "Authorization: Bearer $token" -d question "URL/v1/messages"
`

// noRoute is a host that nothing answers for, where there is no origin.
const noRoute = "host: origin.bottle-test.invalid"

// furnish writes the operator's home: a provider, a bottle for each way to log
// in, an agent with a skill, and a project.
func (s *suite) furnish(t *testing.T) {
	t.Helper()
	route, origin := noRoute, ""
	if s.Origin != nil {
		route, origin = s.Origin.Route, s.Origin.URL
	}
	program := "      " + strings.ReplaceAll(strings.ReplaceAll(likeAgentProgram, "URL", origin), "\n", "\n      ")
	provider := strings.NewReplacer("ROUTE", route, "MATCHES", matches, "HELD", heldToken).Replace(likeAgent) + strings.TrimRight(program, " ") +
		"headless: {argv: [sh, \"{{home}}/.like/agent\", --print], prompt: stdin}\n"
	bottle := func(login string) string {
		text := "---\nagent_provider: {template: like, " + login + "}\ngit-gate: {user: {name: The Agent, email: agent@example.com}}\n" +
			"env: {PLANTED: \"${PLANTED}\"}\n"
		if s.Image != "" {
			text += "image: " + s.Image + "\n"
		}
		return text + "---\n"
	}
	for name, content := range map[string]string{
		".bot-bottle/contrib/like/provider.yaml": provider,
		".bot-bottle/bottles/token.md":           bottle("auth_token: ORIGIN_TOKEN"),
		".bot-bottle/bottles/login.md":           bottle("forward_host_credentials: true"),
		".bot-bottle/agents/worker.md":           "---\nskills: [review]\n---\nYou answer.\n",
		".claude/skills/review/SKILL.md":         "# review",
		".claude/skills/review/bin/check":        "#!/bin/sh\necho checked\n",
		".claude/skills/review/deep/er/data":     "data\n",
		".claude/.credentials.json": fmt.Sprintf(`{"claudeAiOauth":{"accessToken":%q,"refreshToken":%q,"expiresAt":%d,"scopes":["user:inference"]}}`,
			loginToken, loginRefresh, time.Now().Add(time.Hour).UnixMilli()),
	} {
		put(t, filepath.Join(s.home, name), content, 0o700)
	}
	s.project(t)
}

// project is a checkout with all kinds of files and a configuration that
// disagrees with the bottle's.
func (s *suite) project(t *testing.T) {
	t.Helper()
	put(t, filepath.Join(s.workspace, "main.go"), "package main\n", 0o644)
	put(t, filepath.Join(s.workspace, "run.sh"), "#!/bin/sh\necho ran in $(pwd -P)\n", 0o755)
	put(t, filepath.Join(s.workspace, "deep/er/private"), "private\n", 0o600)
	put(t, filepath.Join(s.workspace, ".gitignore"), ".env\n", 0o644)
	put(t, filepath.Join(s.workspace, ".env"), "PASSWORD=of-the-operator\n", 0o600)
	if err := os.Symlink("main.go", filepath.Join(s.workspace, "link")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c",
		"git init -q; git add .; git -c user.name=o -c user.email=o@example.com commit -qm one; git config user.name 'Somebody Else'; git config user.email else@example.com; git config http.proxy http://192.0.2.1:1")
	cmd.Dir, cmd.Env = s.workspace, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.home, "GIT_CONFIG_NOSYSTEM=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a repository: %v: %s", err, out)
	}
}

func put(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
}
