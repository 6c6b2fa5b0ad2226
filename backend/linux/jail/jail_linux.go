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

// ControlFD is the descriptor the sidecar inherits: the shim's socket.
const ControlFD = 3

// UID is the sidecar's user and group id inside its user namespace: nobody.
const UID = 65534

const (
	// staging is where the new root is assembled.
	staging = "/tmp"
	// self is this program inside.
	self = "/bottle-mcp"
)

// Args are the arguments of the sidecar's process. A host root's sidecar has to give
// up that identity, and cannot see it: an unmapped id looks like UID.
func Args(root bool) []string {
	if root {
		return []string{"sidecar", "enter", "from-root"}
	}
	return []string{"sidecar", "enter"}
}

// FromRoot reads what Args wrote.
func FromRoot(argv []string) bool { return len(argv) == 4 && argv[3] == "from-root" }

// EnterMain is the first stage: it builds the jail, takes this thread's
// capabilities and executes the second stage inside, all of whose threads then
// have none. It returns only when that failed.
func EnterMain() int {
	runtime.LockOSThread()
	err := enter(FromRoot(os.Args))
	if conn, cerr := frame.FromFD(ControlFD, "shim", frame.MaxHost); cerr == nil {
		_ = conn.Send(Done{Error: err.Error()})
	}
	return 1
}

func enter(fromRoot bool) error {
	program, err := walls.CloneProgram()
	if err != nil {
		return err
	}
	if fromRoot {
		if err := walls.Become(UID); err != nil {
			return err
		}
	}
	if err := buildRoot(program); err != nil {
		return fmt.Errorf("build the sidecar's root: %w", err)
	}
	err = errors.Join(walls.DieWithParent(), walls.NoNewPrivs(), walls.Restrict([]string{"/"}, nil),
		walls.DropBounding(), walls.SetCaps(0, 0))
	if err != nil {
		return err
	}
	err = unix.Exec(self, []string{"bottle-mcp", "sidecar", "serve"}, []string{"GOMAXPROCS=2", "GOGC=200"})
	return fmt.Errorf("execute the second stage: %w", err)
}

// Bounds of the sidecar that the kernel enforces: private memory, and each of
// its files. The ledger ends earlier by itself: a guest that fills it with
// refusals loses its way out, since what cannot be recorded is refused, and not
// the host its disk.
const (
	hardMemory = 512 << 20
	maxLog     = 80 << 20
)

// Raise puts up the walls of the second stage, the last ones.
func Raise() error {
	filter, err := walls.JailFilter()
	if err != nil {
		return err
	}
	return errors.Join(walls.DieWithParent(), walls.Undumpable(), walls.RaiseFileLimit(),
		walls.LimitData(hardMemory), walls.LimitFiles(maxLog), walls.LoadSeccomp(filter, true))
}

// etcFiles are the host's resolver configuration and trust store.
var etcFiles = []string{
	"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
}

func buildRoot(program *walls.Program) error {
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
		data, err := os.ReadFile(path)
		if err != nil {
			continue // no distribution has all of them
		}
		if err := os.WriteFile(staging+path, data, 0o444); err != nil { //nolint:gosec // public files
			return err
		}
	}
	if err := program.PlaceWithLibraries(staging, self); err != nil {
		return err
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
