package main

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
)

// probeEnv has the test binary, in a guest, speak on a UNIX socket: connect to
// the path, or serve on it when it begins with "serve:".
const probeEnv = "STANDIN_TEST_PROBE"

func probe(path string) int {
	if at, serve := strings.CutPrefix(path, "serve:"); serve {
		listener, err := net.Listen("unix", at)
		if err != nil {
			complain(err)
			return 1
		}
		serveEcho(listener, nil)
		return 0
	}
	text, err := say(path, "word")
	if err != nil {
		complain(err)
		return 1
	}
	_, _ = os.Stdout.WriteString(text)
	return 0
}

// probing are the options that put the probe into a guest.
func probing(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"--network", "none", "-v", self + ":/probe:ro"}
}

// serveEcho answers every connection until the listener closes.
func serveEcho(listener net.Listener, seen chan<- struct{}) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if seen != nil {
			seen <- struct{}{}
		}
		go func() {
			defer conn.Close()
			text, _ := io.ReadAll(conn)
			_, _ = conn.Write(append([]byte("heard "), text...))
		}()
	}
}

// echoServer answers on a UNIX socket and counts its connections.
func echoServer(t *testing.T, path string) <-chan struct{} {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	seen := make(chan struct{}, 100)
	go serveEcho(listener, seen)
	return seen
}

// toolbox is a guest with a C library, which the test binary may need.
func toolbox(t *testing.T, id string, options ...string) {
	t.Helper()
	argv := append([]string{"run", "-d", "--name", id}, options...)
	must(t, append(argv, "--", world.ToolsImage, "sleep", "300")...)
	t.Cleanup(func() { clean(t, "delete", "-f", id) })
}

func TestSocketIntoGuest(t *testing.T) {
	enter(t)
	path := filepath.Join(t.TempDir(), "s.sock")
	seen := echoServer(t, path)
	if err := os.Chmod(path, 0o722); err != nil {
		t.Fatal(err)
	}
	toolbox(t, "box", append(probing(t), "-v", path+":/run/s.sock", "--uid", "1000", "--gid", "1000")...)
	for range 2 {
		if got := must(t, "exec", "-e", probeEnv+"=/run/s.sock", "--", "box", "/probe"); got != "heard word" {
			t.Errorf("the host's socket says %q", got)
		}
	}
	if len(seen) != 2 {
		t.Errorf("%d connections at the host, want one for each of the guest's", len(seen))
	}
	if got := sh(t, "box", "stat -c '%a %F' /run/s.sock"); got != "722 socket" {
		t.Errorf("the guest's end is %q", got)
	}
}

// say sends a line to a UNIX socket and returns the answer.
func say(path, line string) (string, error) {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, line); err != nil {
		return "", err
	}
	_ = conn.(*net.UnixConn).CloseWrite()
	text, err := io.ReadAll(conn)
	return string(text), err
}

func TestSocketOutOfGuest(t *testing.T) {
	enter(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "made", "s.sock")
	other := filepath.Join(dir, "other.sock")
	toolbox(t, "box", append(probing(t), "--tmpfs", "/covered", "--publish-socket", path+":/srv/s.sock", "--publish-socket", other+":/covered/s.sock")...)
	sh(t, "box", "mkdir -p /srv")
	for _, at := range []string{"/covered/s.sock", "/srv/s.sock"} {
		must(t, "exec", "-d", "-e", probeEnv+"=serve:"+at, "--", "box", "/probe")
	}
	eventually(t, "the guest's socket answers", func() bool {
		text, err := say(path, "word")
		return err == nil && text == "heard word"
	})
	if text, err := say(other, "word"); err == nil && text != "" {
		t.Error("a socket on a mount is found")
	}
	refuses(t, "already exists", "create", "--name", "second", "--publish-socket", path+":/x", "--", world.AgentImage)
	must(t, "stop", "-t", "0", "box")
	if _, err := say(path, "word"); err == nil {
		t.Error("the relay outlives the container")
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "create", "--name", "second", "--network", "none", "--publish-socket", file+":/x", "--", world.AgentImage)
	t.Cleanup(func() { clean(t, "delete", "second") })
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Error("what is no socket at the host's path is still there")
	}
	if document := valid(t, "inspect", must(t, "inspect", "second")); !strings.Contains(document, "publishedSockets") {
		t.Error(document)
	}
}
