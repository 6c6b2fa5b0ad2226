package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/walls"
)

// staging is where the new root is assembled. Every Linux system has /tmp, and
// nothing the root is made of lies below it but perhaps this program, which has
// been taken hold of before.
const staging = "/tmp"

// dataDirs are the writable places: name below the data filesystem, place in
// the guest, mode, and whether the agent owns it.
var dataDirs = []struct {
	name, at string
	mode     uint32
	agent    bool
}{
	{"home", backend.AgentHome, 0o700, true},
	{"tmp", "/tmp", 0o1777, false},
	{"vartmp", "/var/tmp", 0o1777, false},
	{"run", "/run", 0o755, false},
	{"shm", "/dev/shm", 0o1777, false},
}

// writable lists the guest's writable places for Landlock.
func writable() []string {
	out := []string{"/proc", "/dev"}
	for _, d := range dataDirs {
		out = append(out, d.at)
	}
	return out
}

// rootBuilder gathers the first error, so that the recipe reads as a list.
type rootBuilder struct {
	setup   Setup
	program *walls.Program
	err     error
}

// buildRoot assembles the "host" root filesystem and enters it: this host's
// programs and libraries read-only, a minimal /etc without secrets, private
// /dev, /proc, /tmp and home, and nothing else of the host.
func buildRoot(setup Setup, program *walls.Program) error {
	b := &rootBuilder{setup: setup, program: program}
	b.mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	b.mount("tmpfs", staging, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=32m")
	b.programs()
	b.etc()
	b.ownFiles()
	b.devices()
	b.data()
	b.proc()
	b.sys()
	b.pivot()
	return b.err
}

func (b *rootBuilder) fail(err error, format string, args ...any) {
	if err != nil && b.err == nil {
		b.err = fmt.Errorf(format+": %w", append(args, err)...)
	}
}

func (b *rootBuilder) mount(source, target, fstype string, flags uintptr, data string) {
	if b.err == nil {
		b.fail(unix.Mount(source, target, fstype, flags, data), "mount %s on %s", source, target)
	}
}

func (b *rootBuilder) mkdir(path string, mode os.FileMode) {
	if b.err == nil {
		b.fail(os.MkdirAll(staging+path, mode), "make directory %s", path)
	}
}

func (b *rootBuilder) write(path, content string) {
	if b.err == nil {
		b.fail(os.WriteFile(staging+path, []byte(content), 0o644), "write %s", path) //nolint:gosec // public files of the guest
	}
}

func (b *rootBuilder) symlink(target, path string) {
	if b.err == nil {
		if err := os.Symlink(target, staging+path); !errors.Is(err, fs.ErrExist) {
			b.fail(err, "link %s", path)
		}
	}
}

// bind binds source read-only (or as is) with all it holds, never with device
// nodes or set-id programs.
func (b *rootBuilder) bind(source, target string, attrs uint64) {
	if b.err != nil {
		return
	}
	b.mount(source, staging+target, "", unix.MS_BIND|unix.MS_REC, "")
	b.setattr(staging+target, attrs, unix.AT_RECURSIVE)
}

func (b *rootBuilder) setattr(path string, attrs uint64, flags uint) {
	if b.err != nil {
		return
	}
	err := unix.MountSetattr(unix.AT_FDCWD, path, flags, &unix.MountAttr{Attr_set: attrs})
	b.fail(err, "restrict the mount %s (needs Linux 5.12)", path)
}

const (
	readOnly = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	noExec   = readOnly | unix.MOUNT_ATTR_NOEXEC
)

// HostDirs are the directories of this host that every guest sees, read-only.
func HostDirs() []string {
	return []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"}
}

// programs binds /usr and what belongs to it. Merged systems have links for
// /bin and the libraries, others directories.
func (b *rootBuilder) programs() {
	for _, dir := range HostDirs() {
		info, err := os.Lstat(dir)
		if err != nil {
			continue
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(dir)
			b.fail(err, "read link %s", dir)
			b.symlink(target, dir)
			continue
		}
		b.mkdir(dir, 0o755)
		b.bind(dir, dir, readOnly)
	}
}

// ownFiles puts this program and the certificates at their fixed places.
func (b *rootBuilder) ownFiles() {
	b.mkdir(filepath.Dir(backend.GuestBinary), 0o755)
	b.write(backend.GuestBinary, "")
	if b.err == nil {
		b.err = b.program.Place(staging + backend.GuestBinary)
	}
	b.write(backend.GuestCACert, string(b.setup.CACert))
	b.write(backend.GuestCABundle, string(hostRoots())+"\n"+string(b.setup.CACert))
}

// hostRoots reads this host's CA bundle; none is not an error, the guest then
// trusts the bottle's CA alone.
func hostRoots() []byte {
	for _, p := range []string{
		"/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine, Arch
		"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora
		"/etc/ssl/ca-bundle.pem",             // openSUSE
		"/etc/ssl/cert.pem",
	} {
		if data, err := os.ReadFile(p); err == nil {
			return data
		}
	}
	return nil
}

// maxTerminals keeps a guest from using up the host's, of which there are some
// thousand for all.
const maxTerminals = "512"

func (b *rootBuilder) devices() {
	b.mkdir("/dev", 0o755)
	b.mount("tmpfs", staging+"/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=64k")
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		b.write("/dev/"+name, "")
		b.mount("/dev/"+name, staging+"/dev/"+name, "", unix.MS_BIND, "")
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
		"stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		b.symlink(target, "/dev/"+name)
	}
	b.mkdir("/dev/pts", 0o755)
	b.mount("devpts", staging+"/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,max="+maxTerminals)
	b.mkdir("/dev/shm", 0o755)
}

// data mounts the one private filesystem that everything writable shares, so
// that one size bounds it all, and it is gone with the last process.
func (b *rootBuilder) data() {
	b.mkdir("/.bottle/data", 0o700)
	b.mount("tmpfs", staging+"/.bottle/data", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV,
		"mode=0755,size="+strconv.FormatInt(b.setup.DiskBytes, 10))
	for _, d := range dataDirs {
		source := staging + "/.bottle/data/" + d.name
		if b.err != nil {
			return
		}
		b.fail(os.Mkdir(source, 0o755), "make %s", d.at)
		b.fail(unix.Chmod(source, d.mode), "set the mode of %s", d.at)
		if d.agent {
			b.own(source)
		}
		b.mkdir(d.at, 0o755)
		b.mount(source, staging+d.at, "", unix.MS_BIND, "")
	}
	if b.err == nil {
		ws := staging + backend.GuestWorkspace
		b.fail(os.Mkdir(ws, 0o755), "make the workspace")
		b.own(ws)
		b.fail(unix.Unmount(staging+"/.bottle/data", unix.MNT_DETACH), "hide the data filesystem")
		b.fail(os.Remove(staging+"/.bottle/data"), "hide the data filesystem")
	}
}

// own gives path to the agent. With a single mapped id it is the agent's already.
func (b *rootBuilder) own(path string) {
	if b.err == nil && b.setup.Multi {
		b.fail(os.Lchown(path, backend.AgentUID, backend.AgentUID), "give %s to the agent", path)
	}
}

// maskedProc and readOnlyProc are what Moby and runc hide or freeze: host
// state that namespaces do not cover.
var (
	maskedProc = []string{
		"acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug",
		"scsi", "timer_list", "timer_stats", "kallsyms", "kpagecount", "kpageflags", "kmsg",
		"config.gz", "slabinfo", "modules", "partitions", "diskstats", "cmdline",
	}
	readOnlyProc = []string{"bus", "fs", "irq", "sys", "sysrq-trigger", "driver", "tty", "pressure"}
)

func (b *rootBuilder) proc() {
	b.mkdir("/proc", 0o555)
	b.mount("proc", staging+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	b.mkdir("/.bottle/empty", 0o555)
	for _, name := range maskedProc {
		path := staging + "/proc/" + name
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		source := staging + "/dev/null"
		if info.IsDir() {
			source = staging + "/.bottle/empty"
		}
		b.mount(source, path, "", unix.MS_BIND, "")
		if info.IsDir() {
			b.setattr(path, noExec, 0)
		}
	}
	for _, name := range readOnlyProc {
		if _, err := os.Lstat(staging + "/proc/" + name); err == nil {
			b.bind(staging+"/proc/"+name, "/proc/"+name, noExec)
		}
	}
}

// sys gives the processor topology that language runtimes read and nothing
// else of the host's hardware.
func (b *rootBuilder) sys() {
	const cpu = "/sys/devices/system/cpu"
	b.mkdir("/sys", 0o755)
	if _, err := os.Stat(cpu); err == nil {
		b.mkdir(cpu, 0o755)
		b.bind(cpu, cpu, noExec)
	}
}

// pivot makes the assembled tree the root and lets go of the host's.
func (b *rootBuilder) pivot() {
	if b.err != nil {
		return
	}
	b.fail(os.Chdir(staging), "enter the new root")
	if b.err == nil {
		b.fail(unix.PivotRoot(".", "."), "pivot into the new root")
	}
	if b.err == nil {
		b.fail(unix.Unmount(".", unix.MNT_DETACH), "detach the host's root")
	}
	if b.err == nil {
		b.fail(os.Chdir("/"), "enter the new root")
	}
	b.setattr("/", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, 0)
	b.setattr("/dev", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, 0)
}
