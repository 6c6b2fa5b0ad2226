package provisiontest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// account demands the image's own user, in every way to ask.
func (b *bottle) account(t *testing.T) {
	want := b.Account
	if b.live.Account != want {
		t.Errorf("the launch says that %+v works there, want %+v", b.live.Account, want)
	}
	text := fmt.Sprintf("%d:%d %s %s %s %s\n", want.UID, want.GID, want.Home, want.Name, want.Name, want.Workspace())
	const script = `echo "$(id -u):$(id -g) $(cd && pwd -P) $USER $LOGNAME $(pwd -P)"`
	if got := b.sh(t, script); got != text {
		t.Errorf("a command is %q, want %q", got, text)
	}
	for _, user := range []string{backend.AgentUser, want.Name} {
		if got, code := b.run(t, backend.Command{Argv: []string{"sh", "-c", script}, User: user}, ""); code != 0 || got != text {
			t.Errorf("a command as %s is %q", user, got)
		}
	}
	// Programs without a variable look here.
	entry := fmt.Sprintf(":%d:%d:", want.UID, want.GID)
	if passwd := b.sh(t, "cat /etc/passwd"); !slices.ContainsFunc(lines(passwd), func(line string) bool {
		return strings.Contains(line, entry) && strings.Contains(line, ":"+want.Home+":")
	}) {
		t.Errorf("/etc/passwd has no such user:\n%s", passwd)
	}
	foreign := fmt.Sprintf("cd; find . ! -user %d -o ! -group %d", want.UID, want.GID)
	if got := b.sh(t, foreign); got != "" {
		t.Errorf("not all of the home is its user's:\n%s", got)
	}
	if got := b.sh(t, "cd "+backend.AgentHome+" && pwd -P"); got != want.Home+"\n" {
		t.Errorf("%s leads to %q", backend.AgentHome, got)
	}
}

// report demands that every step was timed, and that all it brought was read
// back.
func (b *bottle) report(t *testing.T) {
	var sum time.Duration
	for _, step := range []string{"configure", "write-provider-files", "write-skills", "copy-workspace", "write-prompt"} {
		i := slices.IndexFunc(b.live.StepTimings, func(s provision.StepTiming) bool { return s.Step == step })
		if i < 0 || b.live.StepTimings[i].Elapsed <= 0 {
			t.Errorf("there is no time of %s in %+v", step, b.live.StepTimings)
			continue
		}
		t.Logf("%s took %s", step, b.live.StepTimings[i].Elapsed.Round(time.Microsecond))
		if step != "copy-workspace" {
			sum += b.live.StepTimings[i].Elapsed
		}
	}
	t.Logf("all but the workspace took %s", sum.Round(time.Microsecond))
	if b.live.Setup.Files < 20 || len(b.live.Setup.CASHA256) != 64 || len(b.live.Setup.Left) > 0 {
		t.Errorf("the launch reports %+v", b.live.Setup)
	}
}

// files demands content and mode of what the agent was given.
func (b *bottle) files(t *testing.T) {
	home := b.Account.Home
	config := "{\n  \"label\": \"a \\\"label\\\"\",\n  \"trusted\": \"" + b.Account.Workspace() + "\",\n  \"user\": \"" + b.Account.Name + "\"\n}\n"
	for name, want := range map[string]struct{ mode, content string }{
		".like/prompt.md":                  {"644", "You answer.\n"},
		".bottle/task.md":                  {"644", "What now? $(id) `id`\n"},
		".like/config.json":                {"600", config},
		".like/agent":                      {"755", ""},
		".like/skills/review/SKILL.md":     {"755", "# review"},
		".like/skills/review/bin/check":    {"755", "#!/bin/sh\necho checked\n"},
		".like/skills/review/deep/er/data": {"755", "data\n"},
	} {
		at := path.Join(home, name)
		if got := b.read(t, at); want.content != "" && got != want.content {
			t.Errorf("%s holds %q, want %q", at, got, want.content)
		}
		owner := fmt.Sprintf("%s %d:%d\n", want.mode, b.Account.UID, b.Account.GID)
		if got := b.sh(t, "stat -c '%a %u:%g' "+at); got != owner {
			t.Errorf("%s is %q, want %q", at, got, owner)
		}
	}
	if p := b.live.Provider; p == nil || p.PromptFile == "" || p.TaskFile == "" || !slices.Equal(p.Skills, []string{"review"}) {
		t.Errorf("the launch says of the agent %+v", p)
	}
}

// workspace demands a true copy of the project, without what looks like a
// credential.
func (b *bottle) workspace(t *testing.T) {
	ids := fmt.Sprintf("%d:%d", b.Account.UID, b.Account.GID)
	got := lines(b.sh(t, "cd "+backend.GuestWorkspace+"; find . -path ./.git -prune -o -exec stat -c '%n %a %u:%g' {} +"))
	want := []string{
		". 755 " + ids, "./.gitignore 644 " + ids, "./deep 700 " + ids, "./deep/er 700 " + ids, "./deep/er/private 600 " + ids,
		"./link 777 " + ids, "./main.go 644 " + ids, "./run.sh 755 " + ids,
	}
	got = slices.DeleteFunc(got, func(line string) bool { return strings.HasPrefix(line, ". ") })
	if !slices.Equal(got, want[1:]) {
		t.Errorf("the workspace is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want[1:], "\n"))
	}
	if out := b.sh(t, "./run.sh; readlink link"); out != "ran in "+b.Account.Workspace()+"\nmain.go\n" {
		t.Errorf("a script and a link: %q", out)
	}
	for _, name := range []string{"main.go", "deep/er/private", ".git/HEAD"} {
		here, err := os.ReadFile(filepath.Join(b.suite.workspace, name))
		if there := b.read(t, path.Join(backend.GuestWorkspace, name)); err != nil || there != string(here) {
			t.Errorf("%s is %q, %v", name, there, err)
		}
	}
	if s := b.live.WorkspaceCopy; s == nil || len(s.Skipped) != 1 || s.Skipped[0].Path != ".env" {
		t.Errorf("the launch says of the copy %+v", s)
	}
}

// git demands the manifest's identity and the bottle's way out, whatever the
// workspace's own configuration says.
func (b *bottle) git(t *testing.T) {
	if got := b.sh(t, "git status --porcelain"); got != "" {
		t.Errorf("the copied checkout is not clean: %s", got)
	}
	if got := b.sh(t, "git config user.name"); got != "Somebody Else\n" {
		t.Fatalf("the workspace's own configuration says %q: it does not disagree", got)
	}
	if got := b.sh(t, "git commit -q --allow-empty -m two && git log -1 --format='%an <%ae> %cn <%ce>'"); got != "The Agent <agent@example.com> The Agent <agent@example.com>\n" {
		t.Errorf("a commit is by %q", got)
	}
	if got := b.sh(t, "cd && git config user.email"); got != "agent@example.com\n" {
		t.Errorf("outside of the workspace the identity is %q", got)
	}
	// Other users of the guest, such as root, may work there too.
	if got := b.sh(t, "cat /etc/gitconfig"); !slices.Contains(lines(got), "\tdirectory = "+b.Account.Workspace()) {
		t.Errorf("/etc/gitconfig does not name the workspace:\n%s", got)
	}
}
