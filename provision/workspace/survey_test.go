package workspace

import (
	"bytes"
	"context"
	"errors"
	"os"
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
