package workspace

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

const (
	guestDir   = "/home/agent/workspace"
	privatePEM = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"
	publicPEM  = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
)

// bed is a workspace on disk.
type bed struct {
	t    *testing.T
	dir  string // the workspace
	opts Options
}

func newBed(t *testing.T) *bed {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ws")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &bed{t, dir, Options{MaxBytes: 1 << 30, MaxEntries: 10000, Host: dir, Guest: guestDir}}
}

func (b *bed) put(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) source() archive.Source {
	b.t.Helper()
	root, err := os.OpenRoot(filepath.Dir(b.dir))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = root.Close() })
	return archive.Source{Root: root, Name: "ws"}
}

func (b *bed) look() *Survey {
	b.t.Helper()
	s, err := Look(b.t.Context(), b.source(), b.opts)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// copy copies what the survey decided and returns where it is.
func (b *bed) copy(s *Survey) string {
	b.t.Helper()
	var stream bytes.Buffer
	report, err := archive.Pack(b.t.Context(), &stream, b.source(), s.Pack())
	if err != nil {
		b.t.Fatal(err)
	}
	if report.Files != s.Files {
		b.t.Errorf("%d files are copied, %d were counted", report.Files, s.Files)
	}
	dst := b.t.TempDir()
	root, err := os.OpenRoot(dst)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if _, err := archive.Unpack(b.t.Context(), &stream, root, archive.UnpackOptions{AnyLinks: true}); err != nil {
		b.t.Fatal(err)
	}
	return dst
}

func (b *bed) refused(part string) {
	b.t.Helper()
	_, err := Look(b.t.Context(), b.source(), b.opts)
	if why, ok := Refused(err); !ok || !strings.Contains(why, part) {
		b.t.Errorf("error is %v; want a refusal that says %q", err, part)
	}
}

func TestSecrets(t *testing.T) {
	tests := []struct {
		name, text string
		left       bool
	}{
		{".env", "A=1", true},
		{"deep/down/.env.local", "", true},
		{".ENV.Production", "", true},
		{".env.example", "KEY=", false},
		{".env.test.sample", "", false},
		{".environment", "", false},
		{"prod.env", "DB_PASSWORD=hunter2hunter2", true},
		{"versions.env", "GO_VERSION=1.26", false},
		{"refs.env", "API_TOKEN=${OTHER}", false},
		{".envrc", "export GITHUB_TOKEN=abcdefgh", true},
		{"id_rsa", "", true},
		{"keys/id_ed25519_work", "", true},
		{"id_rsa.pub", "", false},
		{"server.pem", privatePEM, true},
		{"chain.pem", publicPEM + publicPEM, false},
		{"both.pem", publicPEM + privatePEM, true},
		{"odd.pem", "no PEM", true},
		{"empty.pem", "", true},
		{"new.pem", "-----BEGIN NEW SECRET-----\nAAAA\n-----END NEW SECRET-----\n", true},
		{"cut.pem", publicPEM + "-----BEGIN CERT", true},
		{"tls.key", privatePEM, true},
		{"slides.key", "PK", false},
		{"deploy_key", privatePEM, true},
		{"primary_key", "id", false},
		{"a.p12", "", true}, {"a.pfx", "", true}, {"debug.keystore", "", true},
		{".netrc", "", true}, {"x/.git-credentials", "", true}, {".pypirc", "", true},
		{".npmrc", "//registry.example.com/:_authToken=npm_x", true},
		{"sub/.npmrc", "registry=https://registry.example.com/", false},
		{".yarnrc", "//r.example.com/:_authToken=${TOKEN}", false},
		{".yarnrc.yml", "npmAuthToken: \"abc\"", true},
		{"pip.conf", "index-url = https://u:p@example.com/simple", true},
		{"conf/pip.conf", "index-url = https://example.com/simple", false},
		{".cargo/credentials.toml", "", true},
		{".cargo/config.toml", "", false},
		{".docker/config.json", `{"auths":{"x":{"auth":"abc"}}}`, true},
		{"docker/config.json", `{"auths":{"x":{"auth":"abc"}}}`, false},
		{"service-account.json", `{"private_key": "x"}`, true},
		{"credentials.schema.json", `{"type": "object"}`, false},
		{"terraform.tfstate", "{}", true},
		{".aws/credentials", "", true}, {".ssh/config", "", true}, {"home/.config/gcloud/x", "", true},
		{"aws/main.go", "package aws", false},
		{".git/refs/heads/.env", "", false},
		{"pem", "", false}, {"README.md", privatePEM, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			b.put(tt.name, tt.text)
			b.put("kept.txt", "kept")
			s := b.look()
			dst := b.copy(s)
			_, err := os.Lstat(filepath.Join(dst, tt.name))
			if left := err != nil; left != tt.left {
				t.Errorf("left out: %v", left)
			}
			if tt.left != (len(s.Skipped) == 1) || tt.left && !strings.HasPrefix(s.Skipped[0].Reason, "left out: ") {
				t.Errorf("reported: %+v", s.Skipped)
			}
			if data, err := os.ReadFile(filepath.Join(dst, "kept.txt")); string(data) != "kept" {
				t.Errorf("kept.txt holds %q, %v", data, err)
			}
			b.opts.Secrets = true
			if _, err := os.Lstat(filepath.Join(b.copy(b.look()), tt.name)); err != nil {
				t.Errorf("the operator's word does not hold: %v", err)
			}
		})
	}
}

// TestDirectoryOfThatName: rules about files do not take directories.
func TestDirectoryOfThatName(t *testing.T) {
	b := newBed(t)
	b.put(".env/bin/python", "#!")
	if s := b.look(); len(s.Skipped) > 0 || s.Files != 1 {
		t.Errorf("%+v", s)
	}
}

// TestLater: a file that came after the survey is judged by its name.
func TestLater(t *testing.T) {
	b := newBed(t)
	b.put("a", "x")
	s := b.look()
	b.put(".env", "A=1")
	dst := t.TempDir()
	var stream bytes.Buffer
	report, err := archive.Pack(t.Context(), &stream, b.source(), s.Pack())
	if err != nil || report.Files != 1 || len(report.Skipped) != 1 {
		t.Errorf("%s: %+v, %v", dst, report, err)
	}
}

func TestLimits(t *testing.T) {
	b := newBed(t)
	b.put("small/a", "x")
	b.put("large/a", strings.Repeat("x", 2000))
	b.put(".env", strings.Repeat("x", 5000)) // not copied, not counted
	b.opts.MaxBytes = 2001
	if s := b.look(); s.Bytes != 2001 || s.Files != 2 {
		t.Errorf("%+v", s)
	}
	b.opts.MaxBytes = 2000
	b.refused(`it holds more than 2.0 KiB (so far the largest: "large" 2.0 KiB, "small" 1 bytes); name a smaller directory`)
	b.opts.MaxBytes, b.opts.MaxEntries = 1<<30, 4
	b.refused("more than 4 files and directories")
}

func TestManySkipped(t *testing.T) {
	b := newBed(t)
	for i := range maxListed + 7 {
		b.put("d"+strconv.Itoa(i)+"/.env", "")
	}
	if s := b.look(); len(s.Skipped) != maxListed || s.SkippedMore != 7 {
		t.Errorf("%d listed, %d more", len(s.Skipped), s.SkippedMore)
	}
}

func TestCancelled(t *testing.T) {
	b := newBed(t)
	b.put("a", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Look(ctx, b.source(), b.opts); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

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

// FuzzRules: no content of a file stops the survey, and a private key never
// passes for a public PEM file.
func FuzzRules(f *testing.F) {
	f.Add([]byte(publicPEM), []byte("gitdir: /x/.git/worktrees/y"))
	f.Add([]byte(privatePEM), []byte("[a]\nurl = https://u:p@h/"))
	f.Fuzz(func(t *testing.T, content, config []byte) {
		if privateKey.Match(content) && !notPublic(content) {
			t.Error("a private key passes")
		}
		for i := range rules {
			if rules[i].content != nil {
				rules[i].content(content)
			}
		}
		once := withoutLogins(config)
		if twice := withoutLogins(once); !slices.Equal(once, twice) && !bytes.Contains(config, []byte("://")) {
			t.Errorf("%q becomes %q and then %q", config, once, twice)
		}
	})
}

// TestPlain: without limits and git, the rules about credentials hold, also for
// one file and below a directory whose name says it all.
func TestPlain(t *testing.T) {
	b := newBed(t)
	b.opts = Options{Plain: true}
	b.put(".git", "gitdir: /elsewhere")
	b.put("mod/.git/config", "url = https://u:p@h/\n")
	b.put(".env", "A=1")
	b.put("a", "x")
	b.put(".cargo/credentials.toml", "")
	b.put(".aws/sub/x", "")
	s := b.look()
	var left []string
	for _, skip := range s.Skipped {
		left = append(left, skip.Path)
	}
	if want := []string{".aws", ".cargo/credentials.toml", ".env", "mod/.git/config"}; !slices.Equal(left, want) || s.Files != 3 {
		t.Errorf("left out: %q of %+v", left, s)
	}
	for name, want := range map[string]int{"ws/a": 1, "ws/.env": 0, "ws/.cargo/credentials.toml": 0, "ws/.cargo": 0, "ws/mod/.git": 1} {
		src := b.source()
		src.Name = name
		if s, err := Look(t.Context(), src, b.opts); err != nil || s.Files != want || len(s.Skipped) != 1 && name != "ws/a" {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	for _, name := range []string{"ws/.aws", "ws/.aws/sub", "ws/.aws/sub/x"} {
		src := b.source()
		src.Name = name
		_, err := Look(t.Context(), src, b.opts)
		if why, ok := Refused(err); !ok || !strings.Contains(why, "--copy-secrets") {
			t.Errorf("%s: %v", name, err)
		}
		if s, err := Look(t.Context(), src, Options{Plain: true, Secrets: true}); err != nil || s.Files != 1 {
			t.Errorf("%s, allowed: %+v, %v", name, s, err)
		}
	}
}
