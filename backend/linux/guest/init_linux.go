package guest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/walls"
)

// ControlFD is the descriptor of the shim's socket in both stages.
const ControlFD = 3

// InitMain is the first stage. It returns only when something failed.
func InitMain() int {
	runtime.LockOSThread()
	conn, err := frame.FromFD(ControlFD, "shim", frame.MaxHost)
	if err != nil {
		return 1
	}
	_ = conn.Send(Done{Error: initialise(conn).Error()})
	return 1
}

// initialise executes the second stage, or says why it could not.
func initialise(conn *frame.Conn) error {
	program, err := walls.CloneProgram()
	if err != nil {
		return err
	}
	if err := walls.DieWithParent(); err != nil {
		return err
	}
	var listen Listen
	if err := conn.Recv(&listen); err != nil {
		return fmt.Errorf("read the listen request: %w", err)
	}
	if err := passListeners(conn, listen.Ports); err != nil {
		return err
	}
	var setup Setup
	if err := conn.Recv(&setup); err != nil {
		return fmt.Errorf("read the setup request: %w", err)
	}
	if err := enter(setup, program); err != nil {
		return err
	}
	sock, err := conn.File()
	if err != nil {
		return fmt.Errorf("keep the control socket: %w", err)
	}
	return nextStage(sock, setup.Multi)
}

// passListeners opens the services' ports in this network namespace and hands
// them out. A socket belongs to the namespace it was made in, so the sidecar
// serves 127.0.0.1 of the guest without ever entering it.
func passListeners(conn *frame.Conn, ports []int) error {
	if err := loopbackUp(); err != nil {
		return err
	}
	var fds []int
	var open []io.Closer
	defer func() {
		for _, c := range open {
			_ = c.Close() // the sidecar's copies stay
		}
	}()
	for _, p := range ports {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p})
		if err != nil {
			return fmt.Errorf("listen on 127.0.0.1:%d in the guest: %w", p, err)
		}
		open = append(open, l)
		f, err := l.File()
		if err != nil {
			return fmt.Errorf("take the descriptor of 127.0.0.1:%d: %w", p, err)
		}
		open = append(open, f)
		fds = append(fds, int(f.Fd()))
	}
	return conn.Send(Done{}, fds...)
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket for the loopback interface: %w", err)
	}
	defer func() { _ = unix.Close(s) }()
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring the loopback interface up: %w", err)
	}
	return nil
}

func enter(setup Setup, program *walls.Program) error {
	if setup.Multi {
		// Until here as the host's root without its powers, to reach the
		// program's file; from here as the guest's.
		if err := walls.Become(0); err != nil {
			return err
		}
	}
	// The shim has moved this process into its cgroup by now: a namespace
	// made here hides where that is.
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	if err := unix.Sethostname([]byte(setup.Hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	// Keys of the host's session must not be reachable; kernels without
	// keyrings have none to reach.
	if _, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0); err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("join an empty session keyring: %w", err)
	}
	unix.Umask(0o022)
	return buildRoot(setup, program)
}

// keptCaps are what PID 1 keeps: where several users exist, starting and
// killing their commands needs some.
func keptCaps(multi bool) walls.CapMask {
	if !multi {
		return 0
	}
	return walls.Caps(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL)
}

// nextStage raises the walls and executes the second stage.
func nextStage(sock *os.File, multi bool) error {
	if err := walls.NoNewPrivs(); err != nil {
		return err
	}
	if err := walls.Restrict([]string{"/"}, writable()); err != nil {
		return err
	}
	filter, err := walls.GuestFilter()
	if err != nil {
		return err
	}
	if err := walls.DropBounding(); err != nil {
		return err
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open the guest's /dev/null: %w", err)
	}
	for fd := range 3 {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return fmt.Errorf("detach standard stream %d: %w", fd, err)
		}
	}
	// A copy is made in any case: dup3 onto itself would leave it to be closed
	// by execve.
	spare, err := unix.FcntlInt(sock.Fd(), unix.F_DUPFD_CLOEXEC, ControlFD+1)
	if err != nil {
		return fmt.Errorf("copy the control socket: %w", err)
	}
	if err := unix.Dup3(spare, ControlFD, 0); err != nil {
		return fmt.Errorf("place the control socket: %w", err)
	}
	keep := keptCaps(multi)
	if err := walls.SetCaps(keep, keep); err != nil {
		return err
	}
	if err := walls.LoadSeccomp(filter, false); err != nil {
		return err
	}
	err = unix.Exec(backend.GuestBinary, []string{"bottle-mcp", "guest", "serve"}, []string{"GOMAXPROCS=2", "GOGC=40"})
	// Collected before that, they would close descriptors of theirs that are the
	// control socket by now.
	runtime.KeepAlive(null)
	runtime.KeepAlive(sock)
	return fmt.Errorf("execute the second stage: %w", err)
}
