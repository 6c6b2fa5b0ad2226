package vmguest

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/walls"
	"github.com/bottle-mcp/bottle-mcp/backend/terminal"
)

// endTime is how long the tree of an ended command may take to die.
const endTime = 2 * time.Second

// killNow is the signal by which "guest signal" has the wrapper kill its tree
// without a grace.
const killNow = unix.SIGQUIT

// What this process needs once the command runs, see walls.ReserveThreads.
const (
	spareThreads = 4
	ttyThreads   = 2 // wait in the kernel for the terminal's streams
	processors   = 2
)

// runMain is "guest run". Its exit code is the command's, for people; callers
// read the trailer.
func runMain(args []string) (int, error) {
	o, err := parseRun(args)
	if err != nil {
		return 0, err
	}
	// no_new_privs and the parent-death signal belong to a thread: the one that
	// starts the command.
	runtime.LockOSThread()
	if err := raiseWalls(); err != nil {
		return 0, err
	}
	w := newWrapper(o)
	status := w.run()
	w.deliver()
	if err := w.tell(NewTrailer(status)); err != nil {
		return 0, err
	}
	return status.Code, nil
}

// raiseWalls takes from this process, and from the command, the ways to more
// privilege, and from the command the ways into this process.
func raiseWalls() error {
	if err := walls.NoNewPrivs(); err != nil {
		return err
	}
	if err := walls.Undumpable(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of the command's processes: %w", err)
	}
	if err := filterCalls(); err != nil {
		return err
	}
	// What the engine left open is not the command's. Where the call is unknown,
	// Go's own descriptors are closed all the same.
	_ = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	return nil
}

// filterCalls narrows the system calls of this process and everything that it
// starts. The guest's kernel is its own, but its sockets to the host (AF_VSOCK)
// and its block devices are the engine's.
func filterCalls() error {
	filter, err := walls.GuestFilter()
	if err != nil {
		return err
	}
	return walls.LoadSeccomp(filter, true)
}

// runOptions are the arguments of "guest run".
type runOptions struct {
	token     string
	grace     time.Duration
	dir, home string
	user      string // whom the environment names instead of AgentUser; "" = nobody else
	env, argv []string
	tty       *backend.WindowSize // nil = no terminal
}

func parseRun(args []string) (runOptions, error) {
	var o runOptions
	f := flags(verbRun)
	f.StringVar(&o.token, "token", "", "")
	f.StringVar(&o.dir, "dir", "", "")
	f.StringVar(&o.home, "user-home", "", "")
	f.StringVar(&o.user, "user-name", "", "")
	grace := f.Uint("grace", 0, "")
	coded := f.Bool("hex", false, "")
	f.Var((*list)(&o.env), "env", "")
	f.Func("tty", "", func(text string) error {
		size, err := parseSize(text)
		o.tty = &size
		return err
	})
	if err := f.Parse(args); err != nil {
		return o, usageError{err}
	}
	if !validToken(o.token) {
		return o, badUsage("--token must be 32 hex digits")
	}
	o.grace = min(time.Duration(min(*grace, 1e6))*time.Millisecond, maxGrace)
	o.argv = f.Args()
	if *coded {
		return o, o.decode()
	}
	return o, nil
}

// decode turns hex into what it stands for, see RunArgv.
func (o *runOptions) decode() error {
	texts := []*string{&o.dir, &o.home, &o.user}
	for i := range o.env {
		texts = append(texts, &o.env[i])
	}
	for i := range o.argv {
		texts = append(texts, &o.argv[i])
	}
	for _, t := range texts {
		raw, err := hex.DecodeString(*t)
		if err != nil {
			return badUsage("with --hex %.60q is not hex", *t)
		}
		*t = string(raw)
	}
	return nil
}

// list is a flag that may be repeated.
type list []string

var _ flag.Value = (*list)(nil)

func (l *list) String() string     { return "" }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// wrapper runs one command.
type wrapper struct {
	runOptions
	tree tree
	// child, stop and now are signals: a child has ended; end the command; kill
	// it.
	child, stop, now, other chan os.Signal
	main                    int
	ended                   bool
	status                  backend.ExitStatus
	session                 *terminal.Session // nil = no terminal
	hurried                 bool              // the command was ended from outside
}

func newWrapper(o runOptions) *wrapper {
	w := &wrapper{
		runOptions: o,
		tree:       tree{roots: map[int]bool{os.Getpid(): true}, marker: marker(o.token)},
		child:      make(chan os.Signal, 1), stop: make(chan os.Signal, 1),
		now: make(chan os.Signal, 1), other: make(chan os.Signal, 1),
	}
	// Whatever can be caught is: no stray signal may end the wrapper before its
	// command. Caught signals, unlike ignored ones, are the default again in the
	// command.
	signal.Notify(w.other)
	signal.Notify(w.child, unix.SIGCHLD)
	signal.Notify(w.stop, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	signal.Notify(w.now, killNow)
	return w
}

// run runs the command and returns when its main process has ended, or all of
// it when it was told to end.
func (w *wrapper) run() backend.ExitStatus {
	threads := spareThreads
	if w.tty != nil {
		threads += ttyThreads
	}
	walls.ReserveThreads(threads, processors)
	c, failed := resolve(w.runOptions)
	if failed.StartError == "" {
		failed = w.start(c)
	}
	if failed.StartError != "" {
		return failed
	}
	for !w.ended {
		select {
		case <-w.child:
			w.reap()
			continue
		case <-w.stop:
			w.end(w.grace)
		case <-w.now:
			w.end(0)
		}
		return w.status
	}
	select { // what came with the end
	case <-w.stop:
		w.end(w.grace)
	case <-w.now:
		w.end(0)
	default:
	}
	return w.status
}

// start starts the main process in a session of its own, so that signals to a
// terminal or a group are either its or the wrapper's.
func (w *wrapper) start(c program) backend.ExitStatus {
	attr := &syscall.ProcAttr{
		Dir: c.dir, Env: c.env, Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL},
	}
	var pair *terminal.Pair
	if w.tty != nil {
		var err error
		if pair, err = terminal.Open(*w.tty); err != nil {
			return failed(codeCannotRun, err.Error())
		}
		fd := pair.Slave.Fd()
		attr.Files = []uintptr{fd, fd, fd}
		attr.Sys.Setctty, attr.Sys.Ctty = true, 0
	}
	mark(w.tree.marker)
	limitProcesses()
	pid, _, err := syscall.StartProcess(c.path, c.argv, attr)
	if err != nil {
		return startFailure(c.path, err)
	}
	w.main = pid
	if pair != nil {
		w.session = terminal.Start(pair, os.NewFile(stdinFD, "typed"), os.NewFile(stdoutFD, "output"))
	}
	return backend.ExitStatus{}
}

// deliver brings the rest of a terminal's output. Like tell it does not wait
// for ever.
func (w *wrapper) deliver() {
	if w.session == nil {
		return
	}
	wait := tellPatience
	if w.hurried {
		wait = tellHurry
	}
	hurry, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		w.session.End(hurry)
	}()
	patience := time.NewTimer(wait)
	defer patience.Stop()
	for {
		select {
		case <-done:
			return
		case <-w.stop:
			patience.Reset(tellHurry)
		case <-w.now:
			patience.Reset(tellHurry)
		case <-patience.C:
			close(hurry)
			<-done
			return
		}
	}
}

// limitProcesses keeps what is spare from the command, and from this process,
// which needs no more. Where there is no limit nothing is spare.
func limitProcesses() {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &own); err != nil || own.Cur == unix.RLIM_INFINITY {
		return
	}
	n := commandProcesses(own.Cur)
	_ = unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: n, Max: n}) // lowering is always allowed
}

// commandProcesses is the command's part of a limit of processes.
func commandProcesses(limit uint64) uint64 { return limit - min(SpareProcesses, limit/4) }

// end ends the whole tree: SIGTERM, the grace, SIGKILL.
func (w *wrapper) end(grace time.Duration) {
	w.hurried = true
	if grace > 0 {
		w.tree.signal(unix.SIGTERM)
		if w.allEnd(grace) {
			return
		}
	}
	if !w.ended {
		// Most trees are one process group, which stops at once.
		_ = unix.Kill(-w.main, unix.SIGSTOP)
	}
	w.tree.kill(endTime, w.reap)
	if !w.ended { // it hangs in the kernel
		w.ended, w.status = true, backend.ExitStatus{Code: shellSignal + int(unix.SIGKILL), Signal: int(unix.SIGKILL)}
	}
}

// allEnd waits until the whole tree has ended, or somebody has no patience.
func (w *wrapper) allEnd(within time.Duration) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	for !w.reap() {
		select {
		case <-w.child:
		case <-w.now:
			return false
		case <-late.C:
			return false
		}
	}
	return true
}

// reap collects everything that has died. It returns true when nothing of the
// tree is left: as the reaper of all its orphans this process has a child as
// long as any of it exists.
func (w *wrapper) reap() bool {
	for {
		var ws unix.WaitStatus
		var ru unix.Rusage
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, &ru)
		switch {
		case err == unix.EINTR:
		case err == unix.ECHILD:
			return true
		case err != nil || pid <= 0:
			return false
		case pid == w.main:
			w.ended, w.status = true, exitStatus(ws, &ru)
		}
	}
}

func exitStatus(ws unix.WaitStatus, ru *unix.Rusage) backend.ExitStatus {
	st := backend.ExitStatus{
		Code:       ws.ExitStatus(),
		UserTime:   time.Duration(ru.Utime.Nano()),
		SystemTime: time.Duration(ru.Stime.Nano()), MaxRSSBytes: ru.Maxrss << 10, // KiB, getrusage(2)
	}
	if ws.Signaled() {
		st.Signal = int(ws.Signal())
		st.Code = shellSignal + st.Signal
	}
	return st
}
