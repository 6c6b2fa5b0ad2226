package walls

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain lets the test program wall itself in as a child: walls cannot be
// taken down again.
func TestMain(m *testing.M) {
	switch os.Getenv("WALLS_CHILD") {
	case "guest", "jail", "none":
		fmt.Print(attempts(os.Getenv("WALLS_CHILD")))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// attempts raises the named walls and reports what a hostile program then
// gets, one "name=outcome" a line.
func attempts(wall string) string {
	runtime.LockOSThread()
	var b strings.Builder
	say := func(name string, err error) { fmt.Fprintf(&b, "%s=%v\n", name, err) }
	filter, err := GuestFilter()
	if wall == "jail" {
		filter, err = JailFilter()
	}
	if err != nil {
		return err.Error()
	}
	if wall != "none" {
		if err := errors.Join(NoNewPrivs(), LoadSeccomp(filter, true)); err != nil {
			return err.Error()
		}
	}
	socket := func(family, typ, proto int) error {
		fd, err := unix.Socket(family, typ, proto)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	}
	say("inet", socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	say("unix", socket(unix.AF_UNIX, unix.SOCK_STREAM, 0))
	say("route", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE))
	say("audit", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT))
	say("vsock", socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0))
	say("alg", socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0))
	say("userns", unix.Unshare(unix.CLONE_NEWUSER))
	say("mount", unix.Mount("none", "/nonexistent", "tmpfs", 0, ""))
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
	say("clone3", errno)
	_, _, errno = unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
	say("io_uring", errno)
	_, _, errno = unix.RawSyscall(unix.SYS_BPF, 0, 0, 0)
	say("bpf", errno)
	_, err = unix.KeyctlInt(unix.KEYCTL_GET_KEYRING_ID, unix.KEY_SPEC_USER_KEYRING, 0, 0, 0)
	say("keyctl", err)
	say("exec", exec.Command("/bin/true").Run())
	return b.String()
}

func child(t *testing.T, wall string) map[string]string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WALLS_CHILD="+wall)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(out)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		got[k] = v
	}
	return got
}

const (
	okay   = "<nil>"
	denied = "operation not permitted"
)

// TestSeccomp shows what each filter stops, and that nothing stops it without
// one.
func TestSeccomp(t *testing.T) {
	t.Run("guest", func(t *testing.T) {
		check(t, child(t, "guest"), map[string]string{
			"inet": okay, "unix": okay, "route": okay, "exec": okay, "vsock": denied, "alg": denied,
			"userns": denied, "mount": denied, "clone3": "function not implemented",
			"io_uring": denied, "bpf": denied, "keyctl": denied,
		})
	})
	t.Run("jail", func(t *testing.T) {
		got := child(t, "jail")
		check(t, got, map[string]string{
			"inet": okay, "route": okay, "unix": denied, "audit": denied, "vsock": denied, "alg": denied,
			"userns": denied, "mount": denied, "io_uring": denied, "bpf": denied, "keyctl": denied,
		})
		if got["exec"] == okay {
			t.Error("the sidecar can start programs")
		}
	})
	t.Run("control", func(t *testing.T) {
		got := child(t, "none")
		for _, name := range []string{"unix", "audit", "exec", "keyctl"} {
			if got[name] != okay {
				t.Errorf("without a filter %s gives %s: the attempt proves nothing", name, got[name])
			}
		}
		for _, name := range []string{"mount", "clone3", "io_uring", "bpf"} {
			if got[name] == denied {
				t.Errorf("without a filter %s is denied already: the attempt proves nothing", name)
			}
		}
	})
}

func check(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s: %q, want %q", name, got[name], w)
		}
	}
}
