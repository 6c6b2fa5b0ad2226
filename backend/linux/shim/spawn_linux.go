package shim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
)

// MapSize is how many ids a guest has where a range is mapped.
const MapSize = 65536

// Host ids of guests, as root: each bottle gets one of idRanges ranges above
// idBase, inside what systemd sets aside for containers (524288 to 1879048191).
const (
	idBase   = 0x20000000
	idRanges = 8192
	// idCheckBase is a range no bottle gets.
	idCheckBase = idBase + idRanges*MapSize
)

// newBase picks a range at random, so that two bottles' processes are strangers
// to the host kernel as well.
func newBase() int { return idBase + rand.IntN(idRanges)*MapSize } //nolint:gosec // not a secret

// child is a process of the bottle and the socket to it.
type child struct {
	cmd  *exec.Cmd
	conn *frame.Conn
	proc Process
	gone chan struct{} // closed when it has been reaped
}

// spawn starts this program again in namespaces of its own. It must be called
// from the locked main thread: the kernel kills the child when the thread that
// forked it ends.
func spawn(args []string, attr *syscall.SysProcAttr, limit int, extra ...*os.File) (*child, error) {
	conn, sock, err := frame.Pair(limit)
	if err != nil {
		return nil, err
	}
	attr.Pdeathsig = syscall.SIGKILL
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        append([]string{"bottle-mcp"}, args...),
		Env:         []string{"GOMAXPROCS=2"},
		Dir:         "/",
		Stderr:      os.Stderr,
		ExtraFiles:  append([]*os.File{sock}, extra...),
		SysProcAttr: attr,
	}
	err = cmd.Start()
	cerr := sock.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %v in new namespaces: %w", args, err), cerr, conn.Close())
	}
	c := &child{cmd: cmd, conn: conn, gone: make(chan struct{})}
	if c.proc, err = Identify(cmd.Process.Pid); err != nil {
		c.kill()
		return nil, err
	}
	return c, nil
}

// watch reaps the child and calls end once.
func (c *child) watch(end func()) {
	go func() {
		_ = c.cmd.Wait() // how it ended does not matter: it is dead
		close(c.gone)
		end()
	}()
}

func (c *child) kill() {
	if c != nil && c.cmd.Process != nil {
		_ = c.cmd.Process.Kill()
	}
}

// end closes the child's connection, which tells it to end, and kills it when
// it has not after the grace. It returns when the child is gone.
func (c *child) end(grace time.Duration) {
	if c == nil {
		return
	}
	if grace > 0 {
		_ = c.conn.Close()
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-c.gone:
		case <-timer.C:
		}
	}
	c.kill()
	_ = c.conn.Close()
	<-c.gone
}

// guestAttr describes the guest's namespaces. With a range of ids PID 1 begins
// as its root. With a single id there is no root at all: PID 1 is the agent's
// id from the start and gets the capabilities for the set-up as ambient ones.
func guestAttr(multi bool, base int) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID |
			unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Setsid: true,
	}
	if multi {
		whole := []syscall.SysProcIDMap{{ContainerID: 0, HostID: base, Size: MapSize}}
		attr.UidMappings, attr.GidMappings = whole, whole
		attr.GidMappingsEnableSetgroups = true
		// It begins as the host's root, an unmapped id without capabilities on
		// the host, to reach the program's file, and becomes the guest's.
		attr.AmbientCaps = append(setupCaps(), unix.CAP_NET_ADMIN, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_KILL)
		return attr
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: backend.AgentUID, HostID: os.Getuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: backend.AgentUID, HostID: os.Getgid(), Size: 1}}
	attr.AmbientCaps = append(setupCaps(), unix.CAP_NET_ADMIN)
	return attr
}

// setupCaps are the capabilities that building a jail takes, in its own user
// namespace: mounts, dropping bounding sets, and changing to its user.
func setupCaps() []uintptr {
	return []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP, unix.CAP_SETUID, unix.CAP_SETGID}
}

// sidecarAttr describes the sidecar's namespaces: everything but the network.
func sidecarAttr(multi bool, base int) *syscall.SysProcAttr {
	uid, gid := os.Getuid(), os.Getgid()
	if multi {
		uid, gid = base+jail.UID, base+jail.UID
	}
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		Setsid:      true,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: jail.UID, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: jail.UID, HostID: gid, Size: 1}},
		AmbientCaps: setupCaps(),
	}
	attr.GidMappingsEnableSetgroups = multi
	return attr
}
