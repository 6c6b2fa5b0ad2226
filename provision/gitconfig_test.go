package provision

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// gitBed is a home as configure leaves it, and a workspace whose own
// configuration disagrees.
type gitBed struct {
	t        *testing.T
	home, ws string
	env      []string
}

func newGitBed(t *testing.T, g gitPlan, e backend.Endpoints, image string) *gitBed {
	t.Helper()
	b := &gitBed{t: t, home: t.TempDir(), ws: t.TempDir()}
	b.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.home, "GIT_CONFIG_NOSYSTEM=1"}
	config := put(t, b.home, ".bottle/gitconfig", gitConfig(g, e))
	put(t, b.home, ".gitconfig", image+"[include]\n\tpath = "+config+"\n")
	b.git("init", "-q", "-b", "main")
	return b
}

func (b *gitBed) git(args ...string) string {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), "git", args...)
	cmd.Dir, cmd.Env = b.ws, b.env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

var gateEndpoints = backend.Endpoints{Egress: "http://127.0.0.1:9099", GitGate: "http://127.0.0.1:9420/"}

func TestGitIdentityWins(t *testing.T) {
	user := manifest.GitUser{Name: `An "Agent" \ #1`, Email: "agent@example.com"}
	b := newGitBed(t, gitPlan{user: user}, gateEndpoints, "[user]\n\tname = Image\n")
	if got := b.git("config", "user.name"); got != user.Name {
		t.Errorf("over the image's: %q", got)
	}
	b.git("config", "user.name", "Workspace")
	b.git("config", "user.email", "workspace@example.com")
	for name, value := range identityEnv(user) {
		b.env = append(b.env, name+"="+value)
	}
	b.git("commit", "-q", "--allow-empty", "-m", "one")
	want := user.Name + " <agent@example.com> " + user.Name + " <agent@example.com>"
	if got := b.git("log", "--format=%an <%ae> %cn <%ce>"); got != want {
		t.Errorf("over the workspace's: %q", got)
	}
}

func TestGateRewrites(t *testing.T) {
	repos := map[string]manifest.Repo{
		"app": {URL: "ssh://git@git.example.com/team/app.git"},
		"lib": {URL: "git@git.example.com:team/lib"},
		"own": {URL: "ssh://git@git.example.com:2222/own.git"},
	}
	b := newGitBed(t, gitPlan{repos: repos}, gateEndpoints, "")
	// The workspace's own rewrites are shorter, or come later.
	b.git("config", "url.https://elsewhere.example/.insteadOf", "git@git.example.com:")
	b.git("config", "url.ssh://elsewhere.example/.pushInsteadOf", "ssh://git@git.example.com/")
	b.git("config", "url.https://elsewhere.example/app.insteadOf", "ssh://git@git.example.com/team/app.git")
	const gate = "http://127.0.0.1:9420/"
	for url, want := range map[string]string{
		"ssh://git@git.example.com/team/app.git": gate + "app.git",
		"ssh://git@git.example.com/team/app":     gate + "app.git",
		"git@git.example.com:team/app.git":       gate + "app.git",
		"git@git.example.com:team/lib":           gate + "lib.git",
		"git@git.example.com:team/lib.git":       gate + "lib.git",
		"ssh://git@git.example.com/team/lib.git": gate + "lib.git",
		"ssh://git@git.example.com:2222/own.git": gate + "own.git",
	} {
		b.git("remote", "remove", "r")
		b.git("remote", "add", "r", url)
		if got := b.git("remote", "get-url", "r"); got != want {
			t.Errorf("%s is fetched from %s", url, got)
		}
		if got := b.git("remote", "get-url", "--push", "r"); got != want {
			t.Errorf("%s is pushed to %s", url, got)
		}
	}
	if got := b.git("config", "--get-urlmatch", "http.proxy", gate+"app.git"); got != "" {
		t.Errorf("the gate is asked through %q", got)
	}
	if got := b.git("config", "--get-urlmatch", "http.proxy", "https://git.example.com/"); got != gateEndpoints.Egress {
		t.Errorf("another host is asked through %q", got)
	}
	if text := gitConfig(gitPlan{repos: repos}, backend.Endpoints{}); strings.Contains(text, "insteadOf") {
		t.Errorf("without a gate:\n%s", text)
	}
}

func TestSafeDirectory(t *testing.T) {
	text := gitConfig(gitPlan{}, backend.Endpoints{})
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "git", "config", "-f", file, "safe.directory").Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != backend.GuestWorkspace {
		t.Errorf("safe.directory = %q, %v", got, err)
	}
}
