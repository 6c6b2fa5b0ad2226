package provisiontest

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
)

// agent runs the agent as a headless task: it finds its prompt, skills, files and
// a placeholder, and its host gets the operator's credential.
func (b *bottle) agent(t *testing.T) { b.task(t, heldToken, OriginToken) }

// login is the same with the operator's own log-in.
func (s *suite) login(t *testing.T) {
	b := s.launch(t, provision.LaunchRequest{Agent: "worker", Bottles: []string{"login"}, ID: "logged-in", Label: `a "label"`, Prompt: "What now? $(id) `id`"})
	b.task(t, provider.Placeholder, loginToken)
	b.secrets(t)
}

// task runs the agent's headless command as the launch said.
func (b *bottle) task(t *testing.T, held, injected string) {
	t.Helper()
	call, err := b.live.Provider.Headless.With(strings.TrimSpace(b.read(t, b.live.Provider.TaskFile)))
	if err != nil {
		t.Fatal(err)
	}
	before := b.arrived(t)
	out, code := b.run(t, backend.Command{Argv: call.Argv}, call.Stdin)
	if code != 0 {
		t.Fatalf("the agent ended with %d: %s", code, out)
	}
	account := b.Account
	trusted := account.Home
	if b.live.Workspace != "" {
		trusted = account.Workspace()
	}
	for _, line := range []string{
		"arguments: --print --system-prompt-file " + b.live.Provider.PromptFile,
		"prompt: You answer.",
		"task: What now? $(id) `id`",
		"skill: # review checked",
		`config: {  "label": "a \"label\"",  "trusted": "` + trusted + `",  "user": "` + account.Name + `"}`,
		"in " + backend.AgentHome + "/.like",
		"place: " + account.Workspace(),
		"token: " + held,
	} {
		if !slices.ContainsFunc(lines(out), func(l string) bool { return strings.HasSuffix(l, line) }) {
			t.Errorf("it did not find %q:\n%s", line, out)
		}
	}
	if b.Origin == nil {
		return
	}
	for _, r := range b.arrived(t)[len(before):] {
		if r.Path == "/v1/messages" && r.Header.Get("Authorization") == "Bearer "+injected {
			return
		}
	}
	t.Errorf("the origin did not see the credential: %+v", b.arrived(t)[len(before):])
}

func (b *bottle) arrived(t *testing.T) []Request {
	t.Helper()
	if b.Origin == nil {
		return nil
	}
	return b.Origin.Requests(t)
}

// everything prints the environments and the files that a user can read and that
// are not the system's.
const everything = "env; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; find / -xdev -user $(id -u) -type f -size -64k -exec cat {} + 2>/dev/null; find ~/ -type f -exec cat {} +"

// secrets looks for credentials in the guest and in what the launch left on this
// host, and demands that what the agent sends by itself does not arrive.
func (b *bottle) secrets(t *testing.T) {
	inside := b.sh(t, everything+"; true")
	if !strings.Contains(inside, "You answer.") {
		t.Fatalf("the search did not find the prompt in %d bytes", len(inside))
	}
	for _, credential := range []string{OriginToken, loginToken, loginRefresh} {
		if strings.Contains(inside, credential) {
			t.Errorf("a credential is in the guest")
		}
	}
	nowhere(t, filepath.Join(b.Store.BottlesDir(), string(b.live.ID)), OriginToken, loginToken, loginRefresh)
	if b.Origin == nil {
		return
	}
	before := len(b.arrived(t))
	b.sh(t, "curl -sS -o /dev/null -H 'Authorization: Bearer "+agentToken+"' "+b.Origin.URL+"/own; true")
	for _, r := range b.arrived(t)[before:] {
		if strings.Contains(r.Header.Get("Authorization"), agentToken) {
			t.Errorf("the agent's own credential reached the origin: %+v", r)
		}
	}
}
