package provision_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// likeClaude is set up as Claude Code is; its host is a test's.
const likeClaude = `
description: A program that does what Claude Code does at its start
program: {name: like-claude, install: copy it}
auth_token:
  scheme: Bearer
  route: {host: HOST, ports: [PORT], private: [127.0.0.1]}
  env: {AGENT_TOKEN: placeholder-of-the-token}
forward_host_credentials:
  format: claude
  scheme: Bearer
  route: {host: HOST, ports: [PORT], private: [127.0.0.1]}
prompt: {file: .like/prompt.md, argv: [--append-system-prompt-file, "{{prompt_file}}"]}
skills: .like/skills
files:
  - path: .like/config.json
    format: json
    content: {trusted: "{{workspace}}", label: "{{label}}"}
headless: {argv: [like-claude, --print], prompt: stdin}
`

// likeClaudeProgram shows what it finds, and asks its host for something with
// whatever it has for a credential.
const likeClaudeProgram = `#!/bin/sh
echo "arguments: $*"
echo "prompt: $(cat "$3")"
echo "task: $(cat)"
echo "skill: $(cat ~/.like/skills/review/SKILL.md) $(~/.like/skills/review/bin/check)"
echo "config: $(cat ~/.like/config.json | tr -d '\n')"
echo "variable: $AGENT_TOKEN"
token=$AGENT_TOKEN
[ -n "$token" ] || token=$(sed -n 's/.*"accessToken": "\(.*\)".*/\1/p' ~/.claude/.credentials.json)
echo "token: $token"
curl -sS -H "Authorization: Bearer $token" -d question "URL/v1/messages"
`

// TestAgentEndToEnd launches an agent by a provider on the real engine and runs
// it as a headless task: it finds its prompt, skills, files and a placeholder, and
// its host gets the operator's credential, which is nowhere in the guest.
func TestAgentEndToEnd(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a mount namespace with another trust store and another program takes root")
	}
	if os.Getenv(innerEnv) == "" {
		again(t, unix.CLONE_NEWNS)
		return
	}
	seen, port := startOriginAt(t, "127.0.0.1", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "origin answers")
	}))
	installProgram(t, "like-claude", strings.ReplaceAll(likeClaudeProgram, "URL", fmt.Sprintf("https://%s:%d", originHost, port)))
	home := t.TempDir()
	store, m := agentManager(t, home, port)
	for login, want := range map[string]struct{ held, injected string }{
		"token": {"placeholder-of-the-token", realToken},
		"login": {provider.Placeholder, loginToken},
	} {
		t.Run(login, func(t *testing.T) {
			id := backend.ID("agent-" + login)
			out, inside := runAgent(t, m, id)
			for _, line := range []string{
				"arguments: --print --append-system-prompt-file /home/agent/.like/prompt.md",
				"prompt: You answer.",
				"task: What now? $(id) `id`",
				"skill: # review checked",
				`config: {  "label": "a \"label\"",  "trusted": "/home/agent"}`,
				"token: " + want.held,
				"origin answers",
			} {
				if !strings.Contains(out, line) {
					t.Errorf("it did not find %q:\n%s", line, out)
				}
			}
			got := seen.text()
			if !strings.Contains(got, "POST /v1/messages") || !strings.Contains(got, "Authorization: Bearer "+want.injected) || strings.Contains(got, want.held) {
				t.Errorf("the origin saw:\n%s", got)
			}
			for _, secret := range []string{realToken, loginToken, loginRefresh} {
				if strings.Contains(inside, secret) || strings.Contains(out, secret) {
					t.Error("a credential is in the guest")
				}
			}
			assertNowhere(t, filepath.Join(store.BottlesDir(), string(id)), realToken, loginToken, loginRefresh)
		})
	}
}

const (
	loginToken   = "login-credential-7c1d4"
	loginRefresh = "login-refresh-e90a2"
)

// installProgram has this mount namespace's guests find a program of this host.
func installProgram(t *testing.T, name, text string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const place = "/usr/local/bin"
	if err := unix.Mount(dir, place, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(place, unix.MNT_DETACH) })
}

// agentManager has an operator's home with a provider, a bottle for each login,
// an agent and a skill.
func agentManager(t *testing.T, home string, port int) (*state.Store, *provision.Manager) {
	t.Helper()
	own := filepath.Join(home, ".bot-bottle")
	text := strings.NewReplacer("HOST", originHost, "PORT", fmt.Sprint(port)).Replace(likeClaude)
	for name, content := range map[string]string{
		".bot-bottle/contrib/like/provider.yaml": text,
		".bot-bottle/bottles/token.md":           "---\nagent_provider: {template: like, auth_token: ORIGIN_TOKEN}\n---\n",
		".bot-bottle/bottles/login.md":           "---\nagent_provider: {template: like, forward_host_credentials: true}\n---\n",
		".bot-bottle/agents/worker.md":           "---\nskills: [review]\n---\nYou answer.\n",
		".claude/skills/review/SKILL.md":         "# review",
		".claude/skills/review/bin/check":        "#!/bin/sh\necho checked\n",
		".claude/.credentials.json": fmt.Sprintf(`{"claudeAiOauth":{"accessToken":%q,"refreshToken":%q,"expiresAt":%d,"scopes":["user:inference"]}}`,
			loginToken, loginRefresh, time.Now().Add(time.Hour).UnixMilli()),
	} {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	store, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := provision.NewManager(provision.Config{
		Backends: []backend.Backend{linux.New(linux.Config{BottlesDir: store.BottlesDir(), Owner: store.Owner()})},
		State:    store, ManifestHome: own,
		LookupEnv: func(name string) (string, bool) {
			value, ok := map[string]string{"ORIGIN_TOKEN": realToken, "HOME": home}[name]
			return value, ok
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return store, m
}

// runAgent launches the agent, runs its task as the plan says, and returns what
// it said and everything that could be read inside.
func runAgent(t *testing.T, m *provision.Manager, id backend.ID) (said, inside string) {
	t.Helper()
	who := provision.Principal{Kind: provision.Operator}
	bottle := strings.TrimPrefix(string(id), "agent-")
	plan, err := m.Plan(t.Context(), provision.LaunchRequest{
		Agent: "worker", Bottles: []string{bottle}, ID: id, Label: `a "label"`, Prompt: "What now? $(id) `id`", Principal: who,
	})
	if err != nil {
		t.Fatal(err)
	}
	live, err := m.Launch(t.Context(), plan, func(provision.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// t.Context has ended by then.
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if _, err := m.Cleanup(ctx, provision.CleanupRequest{IDs: []backend.ID{id}, Principal: who}, func(provision.Event) {}); err != nil {
			t.Errorf("Cleanup: %v", err)
		}
	})
	for _, s := range live.StepTimings {
		if strings.HasPrefix(s.Step, "write-") {
			t.Logf("%s took %s", s.Step, s.Elapsed)
		}
	}
	task, _, err := m.ReadFile(t.Context(), who, id, live.Provider.TaskFile, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	call, err := live.Provider.Headless.With(strings.TrimSpace(string(task)))
	if err != nil {
		t.Fatal(err)
	}
	run := func(argv []string, stdin string) string {
		var out, complaints bytes.Buffer
		res, err := m.Exec(t.Context(), who, id, backend.Command{Argv: argv}, backend.Streams{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &complaints})
		if err != nil || res.Status.Code != 0 {
			t.Fatalf("%q: %+v, %v: %s", argv, res.Status, err, complaints.String())
		}
		return out.String()
	}
	said = run(call.Argv, call.Stdin)
	return said, run([]string{"sh", "-c", "env; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; find / -xdev -user agent -type f -size -64k -exec cat {} + 2>/dev/null; find ~ -type f -exec cat {} +"}, "")
}
