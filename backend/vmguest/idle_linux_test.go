package vmguest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// idle starts the guest's main process.
func idle(t *testing.T, lifetime time.Duration, relays map[int]string, change ...func(*exec.Cmd)) *exec.Cmd {
	t.Helper()
	cmd := engine(t.Context(), t, IdleArgv(lifetime, relays))
	cmd.Stderr = os.Stderr
	for _, c := range change {
		c(cmd)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestIdleEnds(t *testing.T) {
	begun := time.Now()
	if err := idle(t, time.Second, nil).Wait(); err != nil || time.Since(begun) < time.Second {
		t.Errorf("%v after %s", err, time.Since(begun))
	}
	for _, sig := range []os.Signal{unix.SIGTERM, unix.SIGINT} {
		cmd := idle(t, time.Hour, nil)
		awaitCaught(t, cmd.Process.Pid, sig)
		begun = time.Now()
		_ = cmd.Process.Signal(unix.SIGPIPE)
		_ = cmd.Process.Signal(sig)
		if err := cmd.Wait(); err != nil || time.Since(begun) > patience/2 {
			t.Errorf("%s: %v after %s", sig, err, time.Since(begun))
		}
	}
}

// awaitCaught waits until a process ignores SIGPIPE and handles sig: it is up.
func awaitCaught(t *testing.T, pid int, sig os.Signal) {
	t.Helper()
	await(t, "the process is up", func() bool {
		status, _ := os.ReadFile(procPath(pid, "status"))
		return mask(string(status), "SigIgn")&(1<<(unix.SIGPIPE-1)) != 0 &&
			mask(string(status), "SigCgt")&(1<<(sig.(syscall.Signal)-1)) != 0
	})
}

func mask(status, name string) (m uint64) {
	_, rest, _ := strings.Cut(status, name+":")
	_, _ = fmt.Sscanf(rest, "%x", &m)
	return m
}

func TestIdleRelays(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	_ = l.Close()
	cmd := idle(t, time.Hour, map[int]string{addr.Port: serveSocket(t, echo)})
	var c net.Conn
	await(t, "the relay listens", func() bool {
		c, err = net.Dial("tcp", addr.String())
		return err == nil
	})
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = c.Write([]byte("hello"))
	_ = c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	_ = c.Close()
	status, err := os.ReadFile(procPath(cmd.Process.Pid, "status"))
	if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t1") {
		t.Errorf("no_new_privs is not set: %v", err)
	}
	// The port is taken: a second one says so.
	second := exec.CommandContext(t.Context(), cmd.Path, cmd.Args[1:]...)
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "relay port") {
		t.Errorf("a taken port gives %v, %q", err, out)
	}
	_ = cmd.Process.Signal(unix.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestIdleReaps has it be process 1 and inherit orphans.
func TestIdleReaps(t *testing.T) {
	standIn(t)
	cmd := idle(t, time.Hour, nil, func(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID} })
	init := cmd.Process.Pid
	awaitCaught(t, init, unix.SIGTERM)
	enter := exec.CommandContext(t.Context(), "nsenter", "--target", fmt.Sprint(init), "--pid", "sh", "-c", "for i in 1 2 3 4 5; do (sleep 0.05 &) ; done; echo ok")
	if out, err := enter.CombinedOutput(); err != nil || string(out) != "ok\n" {
		t.Fatalf("%v, %q", err, out)
	}
	orphans := func() (n int) {
		for _, pid := range pids() {
			if stat, err := os.ReadFile(procPath(pid, "stat")); err == nil && strings.Contains(string(stat), fmt.Sprintf(") Z %d ", init)) {
				n++
			}
			if p, ok := lookAt(pid); ok && p.parent == init {
				n++
			}
		}
		return n
	}
	await(t, "all orphans are reaped", func() bool { return orphans() == 0 })
	_ = cmd.Process.Signal(unix.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestReadBundle(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	large := make([]byte, MaxRoots+1)
	for name, data := range map[string][]byte{"good": []byte("PEM"), "empty": nil, "large": large} {
		if err := os.WriteFile(path(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{unix.Mkfifo(path("pipe"), 0o600), os.Symlink("good", path("link")), os.Mkdir(path("dir"), 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"good": "PEM", "link": "PEM", "empty": "", "large": "", "pipe": "", "dir": "", "missing": ""} {
		if got := readBundle(path(name)); string(got) != want {
			t.Errorf("%s gives %.20q", name, got)
		}
	}
	out, err := engine(t.Context(), t, RootsArgv()).Output()
	if err != nil {
		t.Fatalf("guest roots: %v", err)
	}
	if _, err := ParseRoots(out); err != nil {
		t.Errorf("what it prints cannot be read: %v", err)
	}
}
