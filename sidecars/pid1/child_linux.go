package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// What a daemon finds at its descriptors: the control socket, the listeners, the
// files of the ledger.
const (
	controlFD = 3
	firstFD   = 4
)

// child is a daemon's process.
type child struct {
	*process
	control *os.File  // this end of the socket pair
	served  time.Time // since when
}

// launcher starts the processes of one daemon.
type launcher struct {
	name      sidecars.Service
	spawner   *spawner
	reaper    *reaper
	lines     *lineLog
	listeners []int
	records   []int // descriptors of the ledger's files; none = it decides nothing
	patience  time.Duration
}

// launch starts a daemon and returns when it serves. A process that does not
// is dead when launch returns, and its exit code is in the error.
func (l *launcher) launch(ctx context.Context, s *settings) (*child, error) {
	c, err := l.spawn()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", l.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.control.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err = writeStart(c.control, newStartMessage(l.name, s, len(l.listeners)))
	// A daemon that failed says why, also when it did not take its orders.
	if said := readAnswer(c.control); said != nil || err == nil {
		err = said
	}
	if err == nil {
		c.served = time.Now()
		return c, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	c.kill()
	return nil, &startError{l.name, c.code(), err}
}

// startError is a daemon that did not come to serve.
type startError struct {
	name sidecars.Service
	code int
	err  error
}

func (e *startError) Error() string { return fmt.Sprintf("start %s: %v", e.name, e.err) }
func (e *startError) Unwrap() error { return e.err }

func (l *launcher) spawn() (*child, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	control := os.NewFile(uintptr(pair[0]), "control")
	defer func() { _ = unix.Close(pair[1]) }()
	p, err := l.fork(pair[1])
	if err != nil {
		return nil, errors.Join(err, control.Close())
	}
	return &child{process: p, control: control}, nil
}

// fork starts the process with an empty environment and nothing open but what
// it is given.
func (l *launcher) fork(control int) (*process, error) {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer func() { _ = unix.Close(null) }()
	output, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = input.Close() }()
	files := []uintptr{uintptr(null), uintptr(null), input.Fd(), uintptr(control)}
	for _, fd := range slices.Concat(l.listeners, l.records) {
		files = append(files, uintptr(fd))
	}
	uid := uidOf(l.name)
	p, err := l.reaper.start(l.spawner, []string{"bottle-mcp", "sidecar", "daemon", string(l.name)}, &syscall.ProcAttr{
		Dir: "/", Env: []string{}, Files: files,
		Sys: &syscall.SysProcAttr{
			Setsid: true, Pdeathsig: syscall.SIGKILL,
			Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: []uint32{}},
		},
	})
	if err != nil {
		return nil, errors.Join(err, output.Close())
	}
	go l.relay(output)
	return p, nil
}

// relay writes what a daemon says to the log, until every process that has its
// standard error is gone.
func (l *launcher) relay(output *os.File) {
	w := l.lines.writer(string(l.name))
	_, _ = output.WriteTo(w) // ends with the daemon
	w.flush()
	_ = output.Close()
}

// kill ends the process at once and waits until it is gone.
func (c *child) kill() {
	_ = c.signal(unix.SIGKILL)
	<-c.done
	_ = c.control.Close()
}

// end asks the process to stop and kills it when it has not after the grace.
func (c *child) end(grace time.Duration) {
	_ = c.signal(unix.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
		_ = c.control.Close()
	case <-timer.C:
		c.kill()
	}
}

// reload has egress put another policy in force while it serves. A
// *refusedError says that it keeps the one it has; after any other error nobody
// knows what it does.
func (c *child) reload(ctx context.Context, next *settings, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.control.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := c.control.Write([]byte{reloadWord})
	if err == nil {
		err = writeStart(c.control, newStartMessage(sidecars.Egress, next, 0))
	}
	if err == nil {
		err = readAnswer(c.control)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// drain tells the daemon to accept nothing more and to finish what it has
// begun. It ends by itself then.
func (c *child) drain() {
	_ = c.control.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.control.Write([]byte{drainWord}) // a daemon that does not read is ended later
}
