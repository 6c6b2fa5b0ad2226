package jail

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/walls"
)

// Descriptors the sidecar inherits: the shim's socket and the egress log.
const (
	ControlFD = 3
	LogFD     = 4
)

const (
	staging = "/tmp"
	self    = "/bottle-mcp"
)

// EnterMain is the first stage: it builds the jail, raises the walls that hold
// across execve and executes the second. It returns only when that failed.
func EnterMain() int {
	runtime.LockOSThread()
	if err := enterJail(); err != nil {
		if conn, cerr := frame.FromFD(ControlFD, "shim", frame.MaxHost); cerr == nil {
			_ = conn.Send(Done{Error: err.Error()})
		}
		return 1
	}
	return 0
}

func enterJail() error {
	if err := walls.DieWithParent(); err != nil {
		return err
	}
	if err := buildRoot(); err != nil {
		return fmt.Errorf("build the sidecar's root: %w", err)
	}
	if err := walls.Restrict([]string{"/"}, nil); err != nil {
		return err
	}
	if err := errors.Join(walls.DropBounding(), walls.NoNewPrivs(), walls.SetCaps(0, 0)); err != nil {
		return err
	}
	for _, fd := range []int{ControlFD, LogFD} {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keep descriptor %d: %w", fd, err)
		}
	}
	err := unix.Exec(self, []string{"bottle-mcp", "sidecar", "serve"}, []string{"GOMAXPROCS=2", "GOGC=50"})
	return fmt.Errorf("execute the second stage: %w", err)
}

// etcFiles are the host's resolver configuration and trust store.
var etcFiles = []string{
	"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
}

func buildRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("tmpfs", staging, "tmpfs", flags, "mode=0755,size=8m,nr_inodes=64"); err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	for _, dir := range []string{"/etc/ssl/certs", "/etc/pki/tls/certs"} {
		if err := os.MkdirAll(staging+dir, 0o755); err != nil { //nolint:gosec // empty directories of the jail
			return err
		}
	}
	for _, path := range etcFiles {
		data, err := os.ReadFile(path) //nolint:gosec // fixed list
		if err != nil {
			continue // no distribution has all of them
		}
		if err := os.WriteFile(staging+path, data, 0o444); err != nil { //nolint:gosec // public files
			return err
		}
	}
	if err := os.WriteFile(staging+self, nil, 0o555); err != nil { //nolint:gosec // mount point
		return err
	}
	if err := unix.Mount("/proc/self/exe", staging+self, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind this program: %w", err)
	}
	return pivot()
}

func pivot() error {
	if err := os.Chdir(staging); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach the host's root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, attr); err != nil {
		return fmt.Errorf("make the root read-only (needs Linux 5.12): %w", err)
	}
	return nil
}
