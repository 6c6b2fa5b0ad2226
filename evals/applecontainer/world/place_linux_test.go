package world

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSweepKeepsTheLivingAndTheYoung(t *testing.T) {
	parent := t.TempDir()
	made := func(age time.Duration) (layout, *os.File) {
		l, lock, err := newLayoutIn(parent)
		if err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(l.path("lock"), then, then); err != nil {
			t.Fatal(err)
		}
		return l, lock
	}
	living, held := made(time.Hour)
	defer func() { _ = held.Close() }()
	young, free := made(0)
	_ = free.Close()
	dead, free := made(time.Hour)
	_ = free.Close()
	stranger := filepath.Join(parent, dirPrefix+"stranger")
	if err := os.Mkdir(stranger, 0o750); err != nil {
		t.Fatal(err)
	}
	sweep(parent)
	for dir, want := range map[string]bool{living.dir: true, young.dir: true, stranger: true, dead.dir: false} {
		_, err := os.Stat(dir)
		if is := !errors.Is(err, os.ErrNotExist); is != want {
			t.Errorf("%s is there: %v, want %v", dir, is, want)
		}
	}
}

func TestRequireNamesWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if find("no-such-program-of-any-machine") != "" {
		t.Error("a program nobody has was found")
	}
	err := require()
	if err == nil {
		t.Fatal("nothing is in $PATH and nothing is missing")
	}
	for _, want := range []string{"apt-get install podman", "apt-get install busybox-static", "apt-get install git"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

func TestPayloadEnvDropsTheHostsEngines(t *testing.T) {
	for name, value := range map[string]string{
		"CONTAINERS_CONF": "/x", "CONTAINER_HOST": "x", "DOCKER_HOST": "x", "https_proxy": "x", "NO_PROXY": "x",
		"XDG_RUNTIME_DIR": "/run/x", "BOT_BOTTLE_BACKEND": "x", "TMPDIR": "/x", StateEnv: "/x", "HOME": "/home/x", "GOCACHE": "", "KEPT": "yes",
	} {
		t.Setenv(name, value)
	}
	env := layout{"/w"}.payloadEnv()
	for _, want := range []string{"KEPT=yes", "HOME=/w/home", "GOCACHE=/home/x/.cache/go-build", StateEnv + "=/w/state", GateEnv + "=1"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is not in the world's environment", want)
		}
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if value == "x" || value == "/x" || name == "TMPDIR" || name == "XDG_RUNTIME_DIR" {
			t.Errorf("%s reaches the world", kv)
		}
		if name == "PATH" && !strings.HasPrefix(value, "/w/bin:") {
			t.Errorf("$PATH is %s", value)
		}
	}
}

func TestKeepersHoldWhatFlagsName(t *testing.T) {
	t.Setenv("TMPDIR", "/tmp")
	below := t.TempDir()
	old := os.Args
	t.Cleanup(func() { os.Args = old })
	os.Args = []string{"x", "-test.testlogfile=" + below + "/log", "-test.timeout=3s", "-gone=/tmp/no/such", "-etc=/etc/passwd"}
	keep := layout{"/tmp"}.keepers()
	if !slices.Contains(keep, below) || slices.Contains(keep, "/etc") || slices.Contains(keep, "/tmp/no") {
		t.Errorf("kept are %v", keep)
	}
}
