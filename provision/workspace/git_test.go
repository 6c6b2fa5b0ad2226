package workspace

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// git runs git as on a developer's machine.
func (b *bed) git(dir string, args ...string) string {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), "git", append([]string{"-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + b.t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return string(out)
}

// repository makes one with a commit.
func (b *bed) repository(dir string) {
	b.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	b.git(dir, "init", "-q", "-b", "main")
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("hello\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.git(dir, "add", "file")
	b.git(dir, "commit", "-q", "-m", "one")
}

// arrive copies the workspace to where the survey was told that it goes.
func (b *bed) arrive() string {
	b.t.Helper()
	b.opts.Guest = filepath.Join(b.t.TempDir(), "guest")
	dst := b.copy(b.look())
	// The guest has nothing else of the host.
	if err := errors.Join(os.Rename(dst, b.opts.Guest), os.Rename(b.dir, b.dir+".gone")); err != nil {
		b.t.Fatal(err)
	}
	return b.opts.Guest
}

func TestGitWorksAfterwards(t *testing.T) {
	t.Run("repository", func(t *testing.T) {
		b := newBed(t)
		b.repository(b.dir)
		if out := b.git(b.arrive(), "status", "--porcelain"); out != "" {
			t.Errorf("git says %q", out)
		}
	})
	t.Run("submodule", func(t *testing.T) {
		b := newBed(t)
		other := filepath.Join(t.TempDir(), "other")
		b.repository(other)
		b.repository(b.dir)
		b.git(b.dir, "submodule", "add", "-q", other, "sub")
		b.git(b.dir, "commit", "-q", "-m", "two")
		// Old versions of git wrote the whole path.
		b.put("sub/.git", "gitdir: "+filepath.Join(b.dir, ".git/modules/sub")+"\n")
		guest := b.arrive()
		if out := b.git(filepath.Join(guest, "sub"), "log", "--format=%s"); out != "one\n" {
			t.Errorf("git says %q", out)
		}
		if out := b.git(guest, "status", "--porcelain"); out != "" {
			t.Errorf("git says %q", out)
		}
	})
	t.Run("linked worktree inside", func(t *testing.T) {
		b := newBed(t)
		b.repository(b.dir)
		b.git(b.dir, "worktree", "add", "-q", "-b", "side", ".trees/side")
		b.git(b.dir, "worktree", "add", "-q", "-b", "far", filepath.Join(t.TempDir(), "far"))
		guest := b.arrive()
		if out := b.git(filepath.Join(guest, ".trees/side"), "rev-parse", "--abbrev-ref", "HEAD"); out != "side\n" {
			t.Errorf("git says %q", out)
		}
		out := b.git(guest, "worktree", "list", "--porcelain")
		if strings.Count(out, "worktree ") != 2 || !strings.Contains(out, filepath.Join(guest, ".trees/side")) || strings.Contains(out, "prunable") {
			t.Errorf("git says %q", out)
		}
	})
	t.Run("alternates inside", func(t *testing.T) {
		b := newBed(t)
		b.repository(filepath.Join(b.dir, "a"))
		b.git(b.dir, "clone", "-q", "--shared", "a", "b")
		if out := b.git(filepath.Join(b.arrive(), "b"), "log", "--format=%s"); out != "one\n" {
			t.Errorf("git says %q", out)
		}
	})
}

func TestGitRefused(t *testing.T) {
	t.Run("linked worktree", func(t *testing.T) {
		b := newBed(t)
		main := filepath.Join(t.TempDir(), "main")
		b.repository(main)
		b.git(main, "worktree", "add", "-q", "-b", "side", filepath.Join(b.dir, "tree"))
		b.refused("(it is a linked worktree), so git would not work in the bottle; name \"" + main + "\", or make a checkout of its own: git clone")
	})
	t.Run("submodule of another", func(t *testing.T) {
		b := newBed(t)
		b.put(".git", "gitdir: ../super/.git/modules/ws\n")
		b.refused("it is a submodule's checkout")
	})
	t.Run("kept apart", func(t *testing.T) {
		b := newBed(t)
		b.put(".git", "gitdir: /elsewhere/repo.git\n")
		b.refused("kept apart")
	})
	t.Run("alternates", func(t *testing.T) {
		b := newBed(t)
		other := filepath.Join(t.TempDir(), "other")
		b.repository(other)
		b.git(filepath.Dir(b.dir), "clone", "-q", "--shared", other, b.dir)
		b.refused("git repack -a -d")
	})
	for name, target := range map[string]string{"link away": "/elsewhere/.git", "link up": "../other/.git"} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			if err := os.Symlink(target, filepath.Join(b.dir, ".git")); err != nil {
				t.Fatal(err)
			}
			b.refused("is a link to")
		})
	}
	t.Run("a file that is none of git's", func(t *testing.T) {
		b := newBed(t)
		b.put(".git", "hello")
		if s := b.look(); s.Files != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestLoginsInGitConfig(t *testing.T) {
	b := newBed(t)
	b.repository(b.dir)
	b.git(b.dir, "remote", "add", "origin", "https://user:s3cret@git.example.com/a/b.git")
	b.git(b.dir, "remote", "add", "ssh", "ssh://git@git.example.com/a/b.git")
	b.git(b.dir, "config", "http.https://git.example.com/.extraheader", "AUTHORIZATION: basic c2VjcmV0")
	b.git(b.dir, "config", "user.name", "Kept")
	s := b.look()
	if len(s.Skipped) != 1 || s.Skipped[0].Path != ".git/config" || !strings.Contains(s.Skipped[0].Reason, "without the login") {
		t.Errorf("reported: %+v", s.Skipped)
	}
	guest := b.arrive()
	text, err := os.ReadFile(filepath.Join(guest, ".git/config"))
	if err != nil || bytes.Contains(text, []byte("s3cret")) || bytes.Contains(text, []byte("c2VjcmV0")) {
		t.Errorf("%v: the copy holds a login:\n%s", err, text)
	}
	for key, want := range map[string]string{"remote.origin.url": "https://git.example.com/a/b.git", "remote.ssh.url": "ssh://git@git.example.com/a/b.git", "user.name": "Kept"} {
		if got := strings.TrimSpace(b.git(guest, "config", key)); got != want {
			t.Errorf("%s = %q", key, got)
		}
	}
}

func TestWithoutLogins(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "",
		"[a]\n\tb = c\n":                     "[a]\n\tb = c\n",
		"extraHeader = x\\\n more\nnext = 1": "next = 1",
		"[url \"https://tok@h.example/\"]\n": "[url \"https://h.example/\"]\n",
		"url = HTTPS://a:b@h/\r\n":           "url = HTTPS://h/\r\n",
	} {
		if got := string(withoutLogins([]byte(text))); got != want {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
