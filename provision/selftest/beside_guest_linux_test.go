package selftest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lanDirector is process 1 of the guest: it builds the network around it, puts
// the probe behind walls of its own and drops what it holds itself.
func lanDirector(arg string) int {
	runtime.LockOSThread() // the machines die with the thread that forked them
	f, uid, _ := strings.Cut(arg, ":")
	stop, err := buildLAN(fault(f))
	defer stop()
	if err == nil {
		err = furnish()
	}
	if err != nil {
		return exitOn(err)
	}
	gate, open, err := os.Pipe()
	if err != nil {
		return exitOn(err)
	}
	probe := exec.Command("/proc/self/exe")
	probe.Env = []string{roleEnv + "=walled:" + f + ":" + uid}
	probe.Stdin, probe.Stdout, probe.Stderr = os.Stdin, os.Stdout, os.Stderr
	probe.ExtraFiles = []*os.File{gate} // descriptor 3
	if err := probe.Start(); err != nil {
		return exitOn(err)
	}
	if fault(f) != capsInit {
		// This thread's sets are those that are seen of process 1.
		if err := errors.Join(dropBounding(), setCaps()); err != nil {
			return exitOn(err)
		}
	}
	_ = open.Close() // from here on process 1 is as the probe has to find it
	_ = probe.Wait()
	return probe.ProcessState.ExitCode()
}

func buildLAN(f fault) (stop func(), err error) {
	kinds := []string{"gateway", "sidecar"}
	if f == peerThere || f == peerThere6 {
		kinds = append(kinds, "peer")
	}
	var machines []other
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	if err := tune(); err != nil {
		return stop, err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0o644); err != nil {
		return stop, err
	}
	for _, kind := range kinds {
		m, end, err := startMachine("machine:" + kind + ":" + string(f))
		if err != nil {
			return stop, err
		}
		machines, stops = append(machines, m), append(stops, end)
	}
	if err := cable(f, machines); err != nil {
		return stop, err
	}
	for _, m := range machines {
		if err := m.ready(); err != nil {
			return stop, err
		}
	}
	return stop, lanRoutes(f)
}

// cable joins the guest and the machines to the first of them.
func cable(f fault, machines []other) error {
	pid := func(i int) string { return strconv.Itoa(machines[i].pid) }
	lines := []string{
		"link add eth0 type veth peer name g0 netns " + pid(0),
		"link add s0 netns " + pid(1) + " type veth peer name g1 netns " + pid(0),
	}
	if len(machines) > 2 {
		lines = append(lines, "link add p0 netns "+pid(2)+" type veth peer name g2 netns "+pid(0))
	}
	lines = append(lines,
		"link add tunl9 type bridge", // one that nobody uses, as kernels have built in
		"addr add "+lanGuest+"/26 dev eth0", "addr add "+lanGuest6+"/64 dev eth0 nodad", "link set eth0 up",
	)
	if f == extraUp {
		lines = append(lines, "link set tunl9 up")
	}
	return steps(lines...)
}

func lanRoutes(f fault) error {
	hop := lanGateway6
	if f == routerLink {
		hop = lanGatewayLink
	}
	if err := steps("route add default via "+lanGateway, "-6 route add default via "+hop+" dev eth0"); err != nil {
		return err
	}
	switch f {
	case freshAddress, stuckAddress:
		// Unlike the test's other addresses this one is asked for.
		for name, value := range map[string]string{"accept_dad": "1", "dad_transmits": map[fault]string{freshAddress: "1", stuckAddress: "10"}[f]} {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/"+name, []byte(value), 0o644); err != nil {
				return err
			}
		}
		if err := steps("addr add fd00:64::5/64 dev eth0"); err != nil {
			return err
		}
	}
	// A new bridge takes a moment, in which a leak would look closed.
	var err error
	for range 100 {
		var conn net.Conn
		if conn, err = net.DialTimeout("tcp", lanSidecar+":9099", 100*time.Millisecond); err == nil {
			return conn.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("the sidecar is not reached: %w", err)
}

// furnish gives the guest a /dev, /run and /proc of its own, and an image's
// resolv.conf.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	resolv, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	image := resolv
	if !strings.HasPrefix(resolv, "/run/") {
		image = "/run/resolv.conf"
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(image), 0o755), os.WriteFile(image, []byte("nameserver "+lanResolver+"\n"), 0o644), os.Mkdir("/run/dev", 0o755)); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "urandom"} {
		node := "/run/dev/" + name
		if err := os.WriteFile(node, nil, 0o644); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, node, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind /dev/%s: %w", name, err)
		}
	}
	const readOnly = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{image, resolv, "", unix.MS_BIND},
		{"/run/dev", "/dev", "", unix.MS_BIND | unix.MS_REC},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"/proc/sys", "/proc/sys", "", unix.MS_BIND},
		{"", "/proc/sys", "", readOnly},
		{"/sys", "/sys", "", unix.MS_BIND | unix.MS_REC},
		{"", "/sys", "", readOnly},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.source, m.target, err)
		}
	}
	return nil
}

// keptBy are the capabilities that a fault leaves to commands.
var keptBy = map[fault][]uintptr{capsBack: {unix.CAP_CHOWN}, capsAdmin: {unix.CAP_NET_ADMIN}}

// walled puts this process behind the walls of a command in a guest and becomes
// the probe.
func walled(arg string) error {
	runtime.LockOSThread()
	f, uid, _ := strings.Cut(arg, ":")
	id, err := strconv.ParseUint(uid, 10, 16)
	if err != nil {
		return err
	}
	kept := keptBy[fault(f)]
	if err := errors.Join(denyVsock(), dropBounding(kept...)); err != nil {
		return err
	}
	for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		if _, _, errno := unix.RawSyscall(call, uintptr(id), uintptr(id), uintptr(id)); errno != 0 {
			return fmt.Errorf("become uid %d: %w", id, errno)
		}
	}
	if err := setCaps(kept...); err != nil {
		return err
	}
	gate := os.NewFile(3, "gate")
	_, _ = io.Copy(io.Discard, gate)
	_ = gate.Close()
	return syscall.Exec("/proc/self/exe", append([]string{"probe"}, verb...), []string{})
}

// denyVsock filters the calls of this thread: the address family leads to the
// hypervisor of the machine that runs the test, whatever namespaces there are.
func denyVsock() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: unix.SYS_SOCKET},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // its first argument
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.AF_VSOCK},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return errors.Join(
		unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
		unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0),
	)
}

func dropBounding(kept ...uintptr) error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(kept, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	return nil
}

// setCaps leaves this thread the capabilities kept, and a program it becomes.
func setCaps(kept ...uintptr) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	for _, c := range kept {
		sets[c/32].Effective |= 1 << (c % 32)
		sets[c/32].Permitted, sets[c/32].Inheritable = sets[c/32].Effective, sets[c/32].Effective
	}
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return fmt.Errorf("set the capabilities: %w", err)
	}
	for _, c := range kept {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
			return fmt.Errorf("keep capability %d: %w", c, err)
		}
	}
	return nil
}
