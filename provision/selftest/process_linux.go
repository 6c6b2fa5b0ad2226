package selftest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxProc bounds what is read of one file; status files take some 1500 bytes.
const maxProc = 64 << 10

func readProc(path string) (string, error) { return readUpTo(path, maxProc) }

func readUpTo(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, limit))
	return string(text), err
}

func readStatus(pid string) (status, error) {
	text, err := readProc("/proc/" + pid + "/status")
	return parseStatus(text), err
}

func noNewPrivs(want Require) (string, error) {
	s, err := readStatus("self")
	if err != nil {
		return "", err
	}
	return wantNNP(s, want)
}

func wantNNP(s status, want Require) (string, error) {
	set, err := s.number("NoNewPrivs")
	if err != nil {
		return "", err
	}
	if want.NoNewPrivs && set != 1 {
		return "", errors.New("no_new_privs is not set: a set-id program could gain privileges")
	}
	return "no_new_privs " + strconv.Itoa(set), nil
}

func seccompMode(want Require) (string, error) {
	s, err := readStatus("self")
	if err != nil {
		return "", err
	}
	return wantSeccomp(s, want)
}

func wantSeccomp(s status, want Require) (string, error) {
	if want.Seccomp == 0 {
		return "not required", nil
	}
	mode, err := s.number("Seccomp")
	if err != nil {
		return "", err
	}
	if mode != want.Seccomp {
		return "", fmt.Errorf("seccomp mode is %d, not %d: system calls are not filtered", mode, want.Seccomp)
	}
	return "mode " + strconv.Itoa(mode), nil
}

func capabilities() (string, error) {
	s, err := readStatus("self")
	if err != nil {
		return "", err
	}
	return "none, and none to regain", s.zero("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
}

// initWalls looks at process 1, from which every command descends. It may hold
// capabilities to start and end them, but its bounding set must be empty.
func initWalls(spec Spec) (string, error) {
	s, err := readStatus("1")
	if err != nil {
		return "", err
	}
	if err := wantInit(s, spec); err != nil {
		return "", fmt.Errorf("process 1: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return "process 1 is walled in too", nil
}

func wantInit(s status, spec Spec) error {
	if spec.OwnKernel {
		// The machine starts commands beside process 1, which is an ordinary
		// program of the guest: it may be unwalled, but must hold nothing.
		return s.zero("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")
	}
	_, nnpErr := wantNNP(s, spec.Require)
	_, seccompErr := wantSeccomp(s, spec.Require)
	return errors.Join(nnpErr, seccompErr, s.zero("CapBnd", "CapInh", "CapAmb"))
}

func uids(want int) (string, error) {
	r, e, s := unix.Getresuid()
	if r != want || e != want || s != want {
		return "", fmt.Errorf("real, effective and saved uid are %d, %d and %d, expected %d", r, e, s, want)
	}
	return "uid " + strconv.Itoa(want), nil
}

// onThread runs do on a thread of its own that ends with it, so that what it
// changes, should it succeed, changes nothing else.
func onThread(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the runtime ends the thread
		done <- do()
	}()
	return <-done
}

// privilegeGain tries to become root and to take capabilities.
func privilegeGain(uid int) (string, error) {
	err := onThread(func() error {
		if uid != 0 {
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); errno == 0 {
				return errors.New("uid 0 could be taken")
			}
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0); errno == 0 {
				return errors.New("gid 0 could be taken")
			}
		}
		for _, c := range []uint{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_PTRACE, unix.CAP_DAC_OVERRIDE, unix.CAP_SETUID} {
			if err := takeCapability(c); err == nil {
				return fmt.Errorf("capability %d could be taken", c)
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return "neither root nor a capability can be taken", nil
}

func takeCapability(c uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	sets[c/32].Effective = 1 << (c % 32)
	sets[c/32].Permitted = sets[c/32].Effective
	return unix.Capset(&header, &sets[0])
}

// denied reports whether err is a wall's refusal. Any other errno means that
// the kernel's own code was reached and merely disliked the arguments.
func denied(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSYS)
}

// userNamespace tries both ways into a new user namespace, in which this
// process would hold every capability over new mounts and networks.
func userNamespace() (string, error) {
	err := onThread(func() error { return unix.Unshare(unix.CLONE_NEWUSER) })
	// A process with threads gets EINVAL from the kernel's own code: red.
	if !denied(err) {
		return "", fmt.Errorf("unshare is not refused: %w", orSuccess(err))
	}
	// The program does not exist: where the clone succeeds, its child ends at
	// once and the error is another.
	pid, err := syscall.ForkExec("/proc/self/no-such-program", []string{"none"}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER},
	})
	if !denied(err) {
		return "", fmt.Errorf("clone is not refused (pid %d): %w", pid, orSuccess(err))
	}
	return "refused", nil
}

var errSucceeded = errors.New("it succeeded")

func orSuccess(err error) error {
	if err == nil {
		return errSucceeded
	}
	return err
}

// mounting tries the calls that change what is mounted where, with arguments
// that change nothing where they are permitted.
func mounting() (string, error) {
	for name, call := range map[string]func() error{
		"mount":  func() error { return unix.Mount("", "/proc/self", "", unix.MS_PRIVATE, "") },
		"umount": func() error { return unix.Unmount("/proc/self", unix.MNT_EXPIRE) },
		"fsopen": func() error {
			fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
			if err == nil {
				_ = unix.Close(fd)
			}
			return err
		},
		"open_tree": func() error {
			fd, err := unix.OpenTree(unix.AT_FDCWD, "/proc/self", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
			if err == nil {
				_ = unix.Close(fd)
			}
			return err
		},
	} {
		if err := call(); !denied(err) {
			return "", fmt.Errorf("%s is not refused: %w", name, orSuccess(err))
		}
	}
	return "refused", nil
}

// rawSocket is one that makes packets by hand or reaches past the network
// namespace.
type rawSocket struct {
	name               string
	family, kind, prot int
}

// rawSockets tries them all. A vsock talks to the hypervisor: in a guest that
// is a process of this machine that is another's, in a machine of its own the
// check vsock looks at who answers there.
func rawSockets(ownKernel bool) (string, error) {
	all := []rawSocket{
		{"raw IPv4", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		{"raw IPv6", unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6},
		{"packet", unix.AF_PACKET, unix.SOCK_RAW, 0},
	}
	if !ownKernel {
		all = append(all, rawSocket{"vsock", unix.AF_VSOCK, unix.SOCK_STREAM, 0})
	}
	for _, s := range all {
		fd, err := unix.Socket(s.family, s.kind|unix.SOCK_CLOEXEC, s.prot)
		if err == nil {
			_ = unix.Close(fd)
		}
		if !denied(err) && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EPROTONOSUPPORT) {
			return "", fmt.Errorf("a %s socket is not refused: %w", s.name, orSuccess(err))
		}
	}
	return "refused", nil
}

// traceInit asks for what a debugger needs of process 1. Nothing is attached
// and nothing read: only the permission is asked for.
func traceInit() (string, error) {
	if f, err := os.OpenFile("/proc/1/mem", os.O_RDWR, 0); err == nil {
		_ = f.Close()
		return "", errors.New("the memory of process 1 can be opened")
	}
	var buf [1]byte
	local := []unix.Iovec{{Base: &buf[0], Len: 1}}
	remote := []unix.RemoteIovec{{Base: 0, Len: 1}} // an address nobody has
	if _, err := unix.ProcessVMReadv(1, local, remote, 0); !denied(err) {
		return "", fmt.Errorf("reading the memory of process 1 is not refused: %w", orSuccess(err))
	}
	return "process 1 cannot be traced", nil
}

// initialPIDNamespace is the kernel's fixed inode number of the namespace that
// a machine boots with.
const initialPIDNamespace = "pid:[4026531836]"

// processes looks for signs that this is the host's process list.
func processes(spec Spec) (string, error) {
	one, err := readStatus("1")
	if err != nil {
		return "", err
	}
	if parent, err := one.number("PPid"); err != nil || parent != 0 {
		return "", fmt.Errorf("process 1 has the visible parent %q: /proc is of another namespace", one["PPid"])
	}
	if spec.InitName != "" && one["Name"] != spec.InitName {
		return "", fmt.Errorf("process 1 is %q, not %q", one["Name"], spec.InitName)
	}
	pids, err := pidList()
	if err != nil {
		return "", err
	}
	if !slices.Contains(pids, strconv.Itoa(os.Getpid())) {
		return "", errors.New("this process is not in /proc: it is of another namespace")
	}
	if spec.OwnKernel {
		return fmt.Sprintf("%d of this machine", len(pids)), nil
	}
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", err
	}
	two, _ := readStatus("2") // there need not be one
	if ns == initialPIDNamespace || two["Name"] == "kthreadd" {
		return "", errors.New("this is the process namespace the host booted with")
	}
	return fmt.Sprintf("%d of this bottle", len(pids)), nil
}

func pidList() ([]string, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	return slices.DeleteFunc(names, func(s string) bool { return s[0] < '0' || s[0] > '9' }), err
}
