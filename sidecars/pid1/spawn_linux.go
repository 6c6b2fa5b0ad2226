package pid1

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// spawner starts processes from one thread, which has given up what its
// children shall not have: new privileges, bounding and inheritable
// capabilities. The other threads of the init keep theirs. The thread lives as
// long as the init, since the kernel ends the children with it.
type spawner struct{ work chan func() }

func newSpawner() (*spawner, error) {
	s := &spawner{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := disarmThread()
		ready <- err
		if err != nil {
			return
		}
		for f := range s.work {
			f()
		}
	}()
	return s, <-ready
}

// do runs f on the thread.
func (s *spawner) do(f func()) {
	done := make(chan struct{})
	s.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// lastCapability is above every one that a kernel knows.
const lastCapability = 63

func disarmThread() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	for c := uintptr(0); c <= lastCapability; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
			// All done, or not allowed to: then no_new_privs and a user that is
			// not root keep the daemon from ever using the set.
			break
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("clear inheritable capabilities: %w", err)
	}
	return nil
}

// reaper waits for every child of this process, also for those that it was
// given when their parents died. Nothing else here may wait.
type reaper struct {
	mu    sync.Mutex
	procs map[int]*process
}

// process is a child that was started here.
type process struct {
	reaper *reaper
	pid    int
	done   chan struct{} // closed when it was reaped
	status unix.WaitStatus
}

func newReaper() *reaper { return &reaper{procs: map[int]*process{}} }

// start starts a process. The lock keeps the reaper from reaping it before it
// is known.
func (r *reaper) start(s *spawner, argv []string, attr *syscall.ProcAttr) (*process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &process{reaper: r, done: make(chan struct{})}
	var err error
	s.do(func() { p.pid, err = syscall.ForkExec("/proc/self/exe", argv, attr) })
	if err != nil {
		return nil, err
	}
	r.procs[p.pid] = p
	return p, nil
}

// reap takes the status of every child that has ended.
func (r *reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if p := r.procs[pid]; p != nil {
			delete(r.procs, pid)
			p.status = status
			close(p.done)
		}
	}
}

// signal sends sig to a process that was not reaped: its number is its own
// until then.
func (p *process) signal(sig syscall.Signal) error {
	p.reaper.mu.Lock()
	defer p.reaper.mu.Unlock()
	if p.ended() {
		return nil
	}
	return unix.Kill(p.pid, sig)
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// code is the exit code as a shell has it. Only for an ended process.
func (p *process) code() int {
	if p.status.Signaled() {
		return 128 + int(p.status.Signal())
	}
	return p.status.ExitStatus()
}
