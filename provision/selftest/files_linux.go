package selftest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxDevices bounds a walk of /dev; a bottle has some twenty entries.
const maxDevices = 500

// secrets tries to read what belongs to the host alone.
func secrets(paths []string) (string, error) {
	var leaks []string
	for _, path := range paths {
		leak, err := readable(path)
		if err != nil {
			return "", err
		}
		if leak {
			leaks = append(leaks, path)
		}
	}
	if len(leaks) > 0 {
		return "", fmt.Errorf("readable here: %s", strings.Join(leaks, " "))
	}
	return fmt.Sprintf("%d paths out of reach", len(paths)), nil
}

// readable reports whether there is something to read at path. What is there
// but empty is the guest's own stand-in.
func readable(path string) (bool, error) {
	info, err := os.Stat(path)
	if hidden(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.Mode()&(fs.ModeSocket|fs.ModeNamedPipe|fs.ModeDevice) != 0 {
		return true, nil // opening it might hang, and being there is enough
	}
	f, err := os.Open(path)
	if hidden(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	if info.IsDir() {
		names, err := f.Readdirnames(1)
		return len(names) > 0, ignoreEOF(err)
	}
	n, err := f.Read(make([]byte, 1))
	return n > 0, ignoreEOF(err)
}

func hidden(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOTDIR)
}

// ignoreEOF drops the errors by which an empty or masked thing says so.
func ignoreEOF(err error) error {
	if err == nil || errors.Is(err, io.EOF) || hidden(err) {
		return nil
	}
	return err
}

// socketPaths are the host's doors that containers are most often left with;
// socketEnv the variables that lead to more.
var (
	socketPaths = []string{
		"/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/crio/crio.sock",
		"/run/podman/podman.sock", "/run/user/*/docker.sock", "/run/user/*/podman/podman.sock", "/run/user/*/bus",
		"/run/user/*/gnupg/S.*", "/run/user/*/keyring/*", "/run/dbus/system_bus_socket", "/run/systemd/private",
		"/run/systemd/notify", "/run/systemd/journal/socket", "/run/libvirt/libvirt-sock", "/run/snapd.socket",
		"/var/host-services/*", "/run/host-services/*", "/run/lxd/unix.socket", "/var/lib/lxd/unix.socket", "/run/nscd/socket", "/tmp/.X11-unix/*", "/tmp/ssh-*/agent.*",
	}
	socketEnv = []string{
		"SSH_AUTH_SOCK", "DOCKER_HOST", "CONTAINER_HOST", "DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS",
		"GPG_AGENT_INFO", "WAYLAND_DISPLAY", "DISPLAY", "XDG_RUNTIME_DIR", "NOTIFY_SOCKET", "LISTEN_FDS",
	}
)

// hostSockets looks for doors to the host's daemons and session.
func hostSockets() (string, error) {
	var found []string
	for _, name := range socketEnv {
		if value := os.Getenv(name); value != "" {
			found = append(found, "$"+name)
		}
	}
	for _, pattern := range socketPaths {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		found = append(found, paths...)
	}
	if len(found) > 0 {
		return "", fmt.Errorf("doors to the host: %s", strings.Join(found, " "))
	}
	return fmt.Sprintf("none in %d places", len(socketPaths)+len(socketEnv)), nil
}

func abstractSockets() (string, error) {
	text, err := readProc("/proc/net/unix")
	if errors.Is(err, fs.ErrNotExist) {
		return "this kernel does not list sockets", nil
	}
	if err != nil {
		return "", err
	}
	found, err := parseAbstract(text)
	if err != nil {
		return "", fmt.Errorf("read /proc/net/unix: %w", err)
	}
	if len(found) > 0 {
		return "", fmt.Errorf("reachable: %.200s", strings.Join(found, " "))
	}
	return "none", nil
}

// kernelWritable steer the host's kernel, kernelReadable tell of its memory.
var (
	kernelWritable = []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory",
		"/proc/sys/net/ipv4/ip_forward", "/proc/sys/fs/binfmt_misc/register", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity",
		"/proc/bus/pci/devices", "/sys/kernel/uevent_helper", "/sys/kernel/mm/ksm/run", "/sys/power/state",
		"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/release_agent", "/sys/devices/system/cpu/cpu1/online",
	}
	kernelReadable = []string{
		"/proc/kcore", "/proc/kmsg", "/proc/kallsyms", "/proc/timer_list", "/proc/sched_debug", "/proc/keys",
		"/dev/mem", "/dev/kmem", "/dev/kmsg", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/security", "/sys/firmware",
	}
)

// A machine's own kernel is nobody else's. What counts there are the files that
// make it run a program with every capability, and its memory.
var (
	machineWritable = []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/proc/sys/kernel/poweroff_cmd",
		"/proc/sys/fs/binfmt_misc/register", "/sys/kernel/uevent_helper", "/sys/fs/cgroup/release_agent",
	}
	machineReadable = []string{"/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port"}
)

// kernelFiles opens, without writing or keeping anything, the files through
// which containers are most often left.
func kernelFiles(ownKernel bool) (string, error) {
	writable, readable := kernelWritable, kernelReadable
	if ownKernel {
		writable, readable = machineWritable, machineReadable
	}
	var open []string
	for _, path := range writable {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_ = f.Close()
			open = append(open, path+" (writable)")
		}
	}
	for _, path := range readable {
		yes, err := readableNow(path)
		if err != nil {
			return "", err
		}
		if yes {
			open = append(open, path+" (readable)")
		}
	}
	if len(open) > 0 {
		return "", fmt.Errorf("open: %s", strings.Join(open, " "))
	}
	return fmt.Sprintf("%d files out of reach", len(writable)+len(readable)), nil
}

// readableNow opens without waiting: reading some of these files blocks.
func readableNow(path string) (bool, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, nil // out of reach, whatever the reason
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if info.IsDir() {
		names, err := f.Readdirnames(1)
		return len(names) > 0, ignoreEOF(err)
	}
	// A masked file is the null device. Any other is open, even when it has
	// nothing new to tell, as the kernel's log.
	return !isNull(fd), nil
}

// harmless are the device nodes a guest may have, as major and minor numbers;
// -1 is any minor.
var harmless = map[string][2]int{
	"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9},
	"tty": {5, 0}, "console": {5, 1}, "ptmx": {5, 2}, "terminal": {136, -1},
}

func isNull(fd int) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return false
	}
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && isDevice(st.Rdev, harmless["null"])
}

func isDevice(rdev uint64, want [2]int) bool {
	return int(unix.Major(rdev)) == want[0] && (want[1] < 0 || int(unix.Minor(rdev)) == want[1])
}

func devicesOf(spec Spec, top string) (string, error) {
	if spec.OwnKernel {
		return machineDevices(top, openSize)
	}
	return devices(top)
}

// devices looks for nodes in top that reach hardware. What programs share in
// shm is theirs, and never a device: it is mounted without them.
func devices(top string) (string, error) {
	var found []string
	count := 0
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if hidden(err) {
				return nil
			}
			return err
		}
		if path == filepath.Join(top, "shm") {
			return fs.SkipDir
		}
		if count++; count > maxDevices {
			return fmt.Errorf("%s has more than %d entries", top, maxDevices)
		}
		if d.Type()&fs.ModeDevice != 0 && !isHarmless(path, d.Type()) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return "", fmt.Errorf("device nodes: %.200s", strings.Join(found, " "))
	}
	return fmt.Sprintf("%d entries, harmless", count), nil
}

func isHarmless(path string, kind fs.FileMode) bool {
	var st unix.Stat_t
	if kind&fs.ModeCharDevice == 0 || unix.Lstat(path, &st) != nil {
		return false
	}
	for _, want := range harmless {
		if isDevice(st.Rdev, want) {
			return true
		}
	}
	return false
}
