package provision

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

// rules makes the bed's manager again with other rules for workspaces.
func (b *bed) rules(change func(*Config)) {
	b.t.Helper()
	cfg := b.cfg
	change(&cfg)
	m, err := NewManager(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Manager = m
}

func TestWorkspaceWithoutSecrets(t *testing.T) {
	for name, allowed := range map[string]bool{"by default": false, "by the operator's word": true} {
		t.Run(name, func(t *testing.T) {
			b, req := fullBed(t)
			put(t, b.root, "ws/.env", "TOKEN=x")
			put(t, b.root, "ws/deep/.npmrc", "//r.example.com/:_authToken=x")
			b.rules(func(c *Config) { c.CopySecrets = allowed })
			p := b.plan(req)
			s := p.Workspace.Survey
			if want := 2; !allowed && (s.Files != want || len(s.Skipped) != 2) || allowed && (s.Files != 4 || len(s.Skipped) != 0) {
				t.Errorf("the plan says %+v", s)
			}
			live, err := b.Launch(t.Context(), p, nil)
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, skip := range live.WorkspaceCopy.Skipped {
				left = append(left, skip.Path)
			}
			if want := []string{".env", "deep/.npmrc"}; !allowed && !slices.Equal(left, want) || allowed && len(left) > 0 {
				t.Errorf("left out: %+v", live.WorkspaceCopy)
			}
			_, err = os.Stat(b.fake.guest(live.ID, backend.GuestWorkspace+"/.env"))
			if (err == nil) != allowed {
				t.Errorf("in the guest: %v", err)
			}
		})
	}
}

func TestWorkspaceRefused(t *testing.T) {
	tests := []struct {
		name   string
		make   func(b *bed)
		change func(*Config)
		want   string
	}{
		{"bytes", func(b *bed) { put(t, b.root, "ws/large", strings.Repeat("x", 100)) }, func(c *Config) { c.MaxWorkspace = 99 }, "more than 99 bytes"},
		{"entries", func(*bed) {}, func(c *Config) { c.MaxWorkspaceEntries = 2 }, "more than 2 files and directories"},
		{"disk", func(b *bed) { put(t, b.root, "ws/large", strings.Repeat("x", 100)) }, func(c *Config) { c.Limits.DiskBytes = 50 }, "the bottle's disk has 50"},
		{"git elsewhere", func(b *bed) { put(t, b.root, "ws/sub/.git", "gitdir: /elsewhere/.git/worktrees/x\n") }, func(*Config) {}, "linked worktree"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, req := fullBed(t)
			tt.make(b)
			b.rules(tt.change)
			req.Principal = operator
			_, err := b.Plan(t.Context(), req)
			wantInvalid(t, err, "workspace", tt.want)
		})
	}
}

// TestWorkspaceInUse: a plan is the same plan when a file came meanwhile, and a
// directory that grows beyond the limit while it is copied ends the launch.
func TestWorkspaceInUse(t *testing.T) {
	b, req := fullBed(t)
	req.ID = "mine"
	before := b.plan(req).Digest
	put(t, b.root, "ws/more", "x")
	if b.plan(req).Digest != before {
		t.Error("a new file makes another plan")
	}
	b.rules(func(c *Config) { c.MaxWorkspace, c.MaxWorkspaceEntries = 1000, 10 })
	p := b.plan(req)
	put(t, b.root, "ws/grown", strings.Repeat("x", 1<<20))
	_, err := b.Launch(t.Context(), p, nil)
	var failed *StepError
	if !errors.As(err, &failed) || failed.Step != "copy-workspace" || !errors.Is(err, archive.ErrLimit) {
		t.Errorf("error is %v", err)
	}
	b.nothingLeft()
}

// TestCopyInWithoutSecrets: what does not come with the workspace does not come
// by a copy either.
func TestCopyInWithoutSecrets(t *testing.T) {
	b, req := fullBed(t)
	req.ID, req.Workspace = "x", ""
	b.launch(req)
	put(t, b.root, "d/.env", "TOKEN=x")
	put(t, b.root, "d/a", "x")
	put(t, b.root, "d/.aws/credentials", "x")
	got, err := b.CopyIn(t.Context(), operator, "x", "d", "/home/agent/d", CopyOptions{})
	if err != nil || got.Files != 1 || len(got.Skipped) != 2 {
		t.Errorf("copied %+v, %v", got, err)
	}
	for _, name := range []string{"d/.env", "d/.aws", "d/.aws/credentials"} {
		_, err := b.CopyIn(t.Context(), operator, "x", name, "/home/agent/"+filepath.Base(name), CopyOptions{})
		wantInvalid(t, err, "host path", "--copy-secrets")
		if _, err := os.Lstat(b.fake.guest("x", "/home/agent/"+filepath.Base(name))); err == nil {
			t.Errorf("%s is in the guest", name)
		}
	}
	b.rules(func(c *Config) { c.CopySecrets = true })
	if got, err := b.CopyIn(t.Context(), operator, "x", "d/.env", "/home/agent/.env", CopyOptions{}); err != nil || got.Files != 1 {
		t.Errorf("copied %+v, %v", got, err)
	}
}

// TestGitPlan: identity and rewrites as the guest's git gets them.
func TestGitPlan(t *testing.T) {
	b, req := fullBed(t)
	b.bottleFile("who", "git-gate: {user: {name: Bottle, email: b@example.com}}")
	put(t, b.home, "agents/mine.md", "---\nbottle: who\ngit-gate: {user: {name: 'Agent \"A\"'}}\n---\n")
	live := b.launch(LaunchRequest{Agent: "mine", Workspace: req.Workspace})
	text, err := os.ReadFile(b.fake.guest(live.ID, gitConfigFile))
	if err != nil || !strings.Contains(string(text), "[user]\n\tname = \"Agent \\\"A\\\"\"\n\temail = \"b@example.com\"\n") || strings.Contains(string(text), "insteadOf") {
		t.Errorf("the configuration is %s, %v", text, err)
	}
	env := b.fake.bottles[live.ID].agent.Env
	for _, want := range []string{`GIT_AUTHOR_NAME=Agent "A"`, "GIT_COMMITTER_EMAIL=b@example.com"} {
		if !slices.Contains(env, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	_, err = b.Plan(t.Context(), LaunchRequest{Agent: "mine", Env: map[string]string{"GIT_AUTHOR_NAME": "Me"}, Principal: operator})
	wantInvalid(t, err, "env GIT_AUTHOR_NAME", "the operator's manifest sets this variable")
}
