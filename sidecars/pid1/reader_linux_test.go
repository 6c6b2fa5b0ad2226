package pid1

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// replace puts something else in the place of a file.
func replace(t *testing.T, path string, put func() error) {
	t.Helper()
	check(t, os.RemoveAll(path))
	check(t, put())
}

func TestLoadSettings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "config")
	cfg, secrets := sample()
	check(t, WriteConfig(dir, cfg, secrets, []byte("ROOTS")))
	check(t, os.WriteFile(filepath.Join(dir, sidecars.TokensDir, "T_3.new"), []byte("half"), 0o600))
	s, err := loadSettings(dir)
	check(t, err)
	if s.config.Bottle != "otter" || s.config.CACert != "CERT" || len(s.config.Routes) != 1 || s.secrets.CAKey.Reveal() != "KEY" ||
		len(s.secrets.Tokens) != 2 || s.secrets.Tokens["T_1"].Reveal() != "two" || string(s.roots) != "ROOTS" {
		t.Errorf("settings = %+v", s)
	}
	check(t, RemoveSecrets(dir))
	check(t, os.RemoveAll(filepath.Join(dir, sidecars.TokensDir)))
	check(t, os.Remove(filepath.Join(dir, sidecars.RootsFile)))
	if s, err = loadSettings(dir); err != nil || !s.secrets.CAKey.Empty() || s.roots != nil || len(s.secrets.Tokens) != 0 {
		t.Errorf("without secrets: %+v, %v", s, err)
	}
}

// TestLoadSettingsHostile is a directory that somebody else writes to.
func TestLoadSettingsHostile(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	check(t, os.WriteFile(outside, []byte(`{"bottle":"x","routes":[]}`), 0o600))
	big := func(path string, n int64) func() error {
		return func() error {
			return os.WriteFile(path, []byte(strings.Repeat(" ", int(n))), 0o600)
		}
	}
	type change struct {
		name string
		make func(path string) func() error
	}
	link := change{"a link", func(p string) func() error { return func() error { return os.Symlink(outside, p) } }}
	pipe := change{"a pipe", func(p string) func() error { return func() error { return unix.Mkfifo(p, 0o600) } }}
	folder := change{"a directory", func(p string) func() error { return func() error { return os.Mkdir(p, 0o700) } }}
	socket := change{"a socket", func(p string) func() error { return func() error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) } }}
	huge := func(n int64) change {
		return change{"too large", func(p string) func() error { return big(p, n+1) }}
	}
	for name, changes := range map[string][]change{
		sidecars.ConfigFile:                                {link, pipe, folder, socket, huge(maxConfig)},
		sidecars.RootsFile:                                 {link, pipe, folder, socket, huge(maxRoots)},
		sidecars.CADir + "/" + sidecars.CACertFile:         {link, pipe, folder, huge(maxPEM)},
		sidecars.CADir + "/" + sidecars.CAKeyFile:          {link, pipe, folder, huge(maxPEM)},
		sidecars.TokensDir + "/T_0":                        {link, pipe, folder, huge(maxToken)},
		sidecars.TokensDir + "/not a slot":                 {huge(1)},
		sidecars.TokensDir + "/" + strings.Repeat("x", 99): {huge(1)},
		sidecars.TokensDir:                                 {link, pipe},
		sidecars.CADir:                                     {link, pipe},
	} {
		for _, c := range changes {
			t.Run(name+" is "+c.name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "config")
				cfg, secrets := sample()
				check(t, WriteConfig(dir, cfg, secrets, []byte("ROOTS")))
				path := filepath.Join(dir, name)
				replace(t, path, c.make(path))
				loaded := make(chan error, 1)
				go func() {
					_, err := loadSettings(dir)
					loaded <- err
				}()
				select {
				case err := <-loaded:
					if err == nil || strings.Contains(err.Error(), "KEY") {
						t.Errorf("loadSettings = %v, want an error", err)
					}
				case <-time.After(testWait):
					t.Error("reading hangs")
				}
			})
		}
	}
	t.Run("too many tokens", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "config")
		cfg, secrets := sample()
		check(t, WriteConfig(dir, cfg, secrets, nil))
		for i := range maxTokens {
			check(t, os.WriteFile(filepath.Join(dir, sidecars.TokensDir, "X"+strconv.Itoa(i)), nil, 0o600))
		}
		if _, err := loadSettings(dir); err == nil || !strings.Contains(err.Error(), "tokens") {
			t.Errorf("loadSettings = %v", err)
		}
	})
	t.Run("a link for the directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "link")
		check(t, os.Symlink(t.TempDir(), path))
		if _, err := loadSettings(path); err == nil {
			t.Error("it was followed")
		}
	})
}

func TestOpenLogs(t *testing.T) {
	dir := t.TempDir()
	logDir := filepath.Join(dir, sidecars.LogDir)
	check(t, os.Mkdir(logDir, 0o700))
	check(t, os.WriteFile(filepath.Join(logDir, sidecars.ErrorLog), []byte("before\n"), 0o600))
	check(t, os.WriteFile(filepath.Join(logDir, sidecars.EgressLog), []byte("{}\n"), 0o600))
	var stderr output
	lines := newLineLog(&stderr)
	logs, err := openLogs(dir, lines)
	check(t, err)
	_, err = logs.ledger[0].WriteString("{}\n")
	check(t, err)
	lines.line("init", []byte("hello"))
	for range 2 { // the log before the one before is gone
		lines.size = maxErrorLog
		lines.line("init", []byte("next"))
	}
	for name, want := range map[string]string{
		sidecars.EgressLog: "{}\n{}\n", sidecars.ErrorLog: "init: next\n", sidecars.ErrorLog + ".1": "init: next\n",
	} {
		if got := readAll(t, filepath.Join(logDir, name)); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
		if info, err := os.Stat(filepath.Join(logDir, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestParseOptions(t *testing.T) {
	env := func(list string, set bool) func(string) (string, bool) {
		return func(name string) (string, bool) { return list, set && name == sidecars.DaemonsEnv }
	}
	o, err := parseOptions([]string{"--listen", "unix:/s", "--config", "/c", "--until", "1700000000"}, env("egress", true), nil)
	if err != nil || o.where.dir != "/s" || o.configDir != "/c" || o.until.Unix() != 1700000000 || len(o.daemons) != 1 {
		t.Errorf("= %+v, %v", o, err)
	}
	o, err = parseOptions(nil, env("", false), nil)
	if err != nil || o.where.device != "eth1" || o.configDir != DefaultConfigDir || !o.until.IsZero() || o.daemons != nil {
		t.Errorf("defaults = %+v, %v", o, err)
	}
	for _, args := range [][]string{
		{"--until", "-1"}, {"--until", "9999999999999999"}, {"--until", "tomorrow"}, {"more"}, {"--nothing"}, {"--listen", "0.0.0.0"},
	} {
		if o, err := parseOptions(args, env("", false), nil); err == nil {
			t.Errorf("%q = %+v, want an error", args, o)
		}
	}
}

// TestAwaitDeadline has both clocks tell.
func TestAwaitDeadline(t *testing.T) {
	started := time.Now()
	if !awaitDeadline(started.Add(200*time.Millisecond), nil) || time.Since(started) < 190*time.Millisecond || time.Since(started) > 2*time.Second {
		t.Errorf("it took %s", time.Since(started))
	}
	if !awaitDeadline(time.Unix(1, 0), nil) {
		t.Error("a time that is past did not come")
	}
	stop := make(chan struct{})
	close(stop)
	if awaitDeadline(time.Now().Add(time.Hour), stop) {
		t.Error("an hour went by")
	}
}

// FuzzLoadSettings reads files of any content; nothing of it may come back in
// an error, since most of them are secret.
func FuzzLoadSettings(f *testing.F) {
	f.Add([]byte(`{"bottle":"x","routes":[]}`), []byte("key"), []byte("token"), "T_0")
	f.Add([]byte(`{`), []byte(""), []byte("\x00"), "..")
	dir := filepath.Join(f.TempDir(), "config")
	for _, sub := range []string{"", sidecars.CADir, sidecars.TokensDir} {
		check(f, os.Mkdir(filepath.Join(dir, sub), 0o700))
	}
	f.Fuzz(func(t *testing.T, routes, key, token []byte, slot string) {
		secret := "S3CRET" + string(token)
		check(t, os.WriteFile(filepath.Join(dir, sidecars.ConfigFile), routes, 0o600))
		check(t, os.WriteFile(filepath.Join(dir, sidecars.CADir, sidecars.CAKeyFile), append([]byte("S3CRET"), key...), 0o600))
		path := filepath.Join(dir, sidecars.TokensDir, filepath.Base(slot))
		if os.WriteFile(path, []byte(secret), 0o600) != nil {
			return // no name of a file
		}
		defer os.Remove(path)
		s, err := loadSettings(dir)
		if err != nil {
			if strings.Contains(err.Error(), "S3CRET") && !strings.Contains(slot, "S3CRET") && !strings.Contains(string(routes), "S3CRET") {
				t.Errorf("the error tells a secret: %v", err)
			}
			return
		}
		if !strings.HasSuffix(path, newSuffix) && (checkSlot(filepath.Base(slot)) != nil || s.secrets.Tokens[filepath.Base(slot)].Reveal() != secret) {
			t.Errorf("slot %q: %v", slot, s)
		}
	})
}
