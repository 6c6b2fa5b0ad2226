package macoscontainer

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/pid1"
)

func bed(t *testing.T) *Backend {
	t.Helper()
	return New(Config{BottlesDir: filepath.Join(t.TempDir(), "bottles"), Owner: "me"})
}

func TestRecord(t *testing.T) {
	b := bed(t)
	r := record{
		ID: "task", Owner: "me", Topology: socket, Services: []sidecars.Service{sidecars.Egress},
		Created: time.Now().Round(0).UTC(), Expires: time.Now().Add(time.Hour).Round(0).UTC(), Sockets: b.socketDir("task"),
		Account: backend.Account{Name: "dev", UID: 1234, GID: 1300, Home: "/srv/dev"},
	}
	if _, err := b.readRecord("task"); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	if err := b.reserve(r); err != nil {
		t.Fatal(err)
	}
	if err := b.reserve(r); !errors.Is(err, backend.ErrExists) {
		t.Errorf("twice: %v", err)
	}
	got, err := b.readRecord("task")
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("read back %+v, %v", got, err)
	}
	// One without an account must not mean root.
	r.Account = backend.Account{}
	if err := b.writeRecord(r); err != nil {
		t.Fatal(err)
	}
	if got, err = b.readRecord("task"); err != nil || got.Account != backend.DefaultAccount() {
		t.Errorf("read back without an account %+v, %v", got.Account, err)
	}
	info, err := os.Stat(filepath.Join(b.dir("task"), recordFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the record's mode is %v, %v", info.Mode(), err)
	}
	if err := makeSocketDir(r.Sockets); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.sweep("task"); err != nil {
			t.Errorf("sweep: %v", err)
		}
	}
	for _, path := range []string{b.dir("task"), r.Sockets} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

func TestDamagedRecord(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "cut": `{"id":"task"`, "alien": `[]`, "unknown key": `{"id":"task","owner":"me","x":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := bed(t)
			put(t, filepath.Join(b.dir("task"), recordFile), text)
			if _, err := b.readRecord("task"); err == nil || errors.Is(err, backend.ErrNotFound) {
				t.Errorf("error is %v", err)
			}
			all, err := b.records()
			if _, ok := all["task"]; !ok || err != nil {
				t.Errorf("it is not listed: %v, %v", all, err)
			}
		})
	}
	t.Run("another owner's", func(t *testing.T) {
		b := bed(t)
		put(t, filepath.Join(b.dir("task"), recordFile), `{"id":"task","owner":"you"}`)
		if _, err := b.readRecord("task"); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("error is %v", err)
		}
		if all, err := b.records(); len(all) != 0 || err != nil {
			t.Errorf("listed: %v, %v", all, err)
		}
	})
}

// TestSweepForeign keeps what others have in a bottle's directory.
func TestSweepForeign(t *testing.T) {
	b := bed(t)
	put(t, filepath.Join(b.dir("task"), recordFile), "{}")
	foreign := filepath.Join(b.dir("task"), "metadata.json")
	put(t, foreign, "theirs")
	if err := b.sweep("task"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("another's file is gone: %v", err)
	}
}

func TestSocketPath(t *testing.T) {
	b := New(Config{BottlesDir: "/Users/somebody-with-a-long-name/.local/state/bottle-mcp/bottles", Owner: "me"})
	id := backend.ID("abcdefghijklmnopqrstuvwxyz0123456789-abc")
	path := filepath.Join(b.socketDir(id), pid1.SocketName(sidecars.Egress))
	if len(path) > 100 {
		t.Errorf("%s has %d bytes; macOS allows 104 with the NUL", path, len(path))
	}
	if b.socketDir("a") == b.socketDir("b") {
		t.Error("two bottles share a directory of sockets")
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
