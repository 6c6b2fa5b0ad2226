package guest

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/terminal"
)

// spareProcesses is how many processes and threads PID 1 may have above the
// guest's limit where both share one user id, so that a fork bomb cannot stop
// it from killing the bomb.
const spareProcesses = 64

// job is one command and, through its marker, everything it started.
type job struct {
	id     uint64
	pid    int
	marker uint64
	status chan backend.ExitStatus
	// terminal is the command's, nil = none. Its output is delivered before the
	// end is told, unless dead says that the tree was killed.
	terminal *terminal.Session
	dead     chan struct{}
	once     sync.Once
	// killed is held while the job's tree is being killed: the end of a
	// cancelled command is told when its whole tree has gone.
	killed sync.WaitGroup
}

// server is PID 1's state. mu also orders forks and reaping, so that a
// command's end cannot be seen before its start is known.
type server struct {
	conn *frame.Conn
	cfg  Serve

	mu   sync.Mutex
	jobs map[uint64]*job // by id, running
	pids map[int]*job    // by main process
	// first is the marker of the first job, next that of the coming one;
	// markers count down, see markJob.
	first, next uint64
}

func newServer(conn *frame.Conn, cfg Serve) (*server, error) {
	first, err := firstMarker()
	if err != nil {
		return nil, err
	}
	return &server{
		conn: conn, cfg: cfg, first: first, next: first,
		jobs: map[uint64]*job{}, pids: map[int]*job{},
	}, nil
}

// exec starts a command; its end, or why it could not start, is an event.
func (s *server) exec(req Request, files []*os.File) {
	j, status := s.start(req, files)
	if j == nil {
		s.send(Event{Op: EvExit, Job: req.Job, Status: status})
		return
	}
	go func() {
		st := <-j.status
		if j.terminal != nil {
			j.terminal.End(j.dead)
		}
		j.killed.Wait()
		s.mu.Lock()
		delete(s.jobs, j.id)
		s.mu.Unlock()
		s.send(Event{Op: EvExit, Job: j.id, Status: st})
	}()
}

func (s *server) start(req Request, files []*os.File) (*job, backend.ExitStatus) {
	if len(files) != 3 {
		return nil, failed(126, fmt.Sprintf("the command came with %d streams, not 3", len(files)))
	}
	who, err := s.user(req.User)
	if err != nil {
		return nil, failed(126, err.Error())
	}
	argv := texts(req.Argv)
	env := environment(s.cfg.Env, texts(req.Env), who)
	dir, err := workingDir(string(req.Dir), who)
	if err != nil {
		return nil, failed(126, err.Error())
	}
	path, status := lookup(argv, env, dir)
	if path == "" {
		return nil, status
	}
	c := command{path: path, argv: argv, attr: &syscall.ProcAttr{Dir: dir, Env: env, Sys: &syscall.SysProcAttr{Setsid: true}}}
	if s.cfg.Multi {
		c.attr.Sys.Credential = &syscall.Credential{Uid: who.uid, Gid: who.gid}
	}
	if err := s.connect(&c, req.TTY, who, files); err != nil {
		return nil, failed(126, err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, busy := s.jobs[req.Job]; busy {
		c.abandon()
		return nil, failed(126, "the job number is in use")
	}
	return s.fork(req.Job, c)
}

// command is what execve gets.
type command struct {
	path string
	argv []string
	attr *syscall.ProcAttr
	tty  *commandTTY // nil = none
}

// fork starts the process with the next marker. The caller holds mu.
func (s *server) fork(id uint64, c command) (*job, backend.ExitStatus) {
	marker := s.next
	err := markJob(marker)
	var restore func()
	if err == nil {
		restore, err = limitProcesses(s.cfg)
	}
	if err != nil {
		c.abandon()
		return nil, failed(126, err.Error())
	}
	pid, _, err := syscall.StartProcess(c.path, c.argv, c.attr)
	restore()
	if err != nil {
		c.abandon()
		return nil, startFailure(c.path, err)
	}
	s.next--
	j := &job{id: id, pid: pid, marker: marker, status: make(chan backend.ExitStatus, 1), dead: make(chan struct{})}
	if c.tty != nil {
		j.terminal = c.tty.start()
	}
	s.jobs[j.id] = j
	s.pids[pid] = j
	return j, backend.ExitStatus{}
}

// limitProcesses sets the limit that the next child inherits and returns how
// to lift it again for PID 1 itself.
func limitProcesses(cfg Serve) (func(), error) {
	if cfg.PIDs <= 0 {
		return func() {}, nil
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &now); err != nil {
		return nil, fmt.Errorf("read the limit of processes: %w", err)
	}
	limit := processLimit(uint64(cfg.PIDs), now.Max)
	own := unix.Rlimit{Cur: limit.Max, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		return nil, fmt.Errorf("limit the number of processes: %w", err)
	}
	return func() { _ = unix.Setrlimit(unix.RLIMIT_NPROC, &own) }, nil
}

// processLimit is the limit of a command where pids are asked for and the host
// allows hard: a hard limit cannot be raised here, and some room stays PID 1's.
func processLimit(pids, hard uint64) unix.Rlimit {
	top := min(pids+spareProcesses, hard)
	return unix.Rlimit{Cur: min(pids, max(top-min(top, spareProcesses), 1)), Max: top}
}

// reap collects every dead process: commands and the orphans they left.
func (s *server) reap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var ws unix.WaitStatus
		var ru unix.Rusage
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, &ru)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if j, ok := s.pids[pid]; ok {
			delete(s.pids, pid)
			j.status <- exitStatus(ws, &ru)
		}
	}
}

func exitStatus(ws unix.WaitStatus, ru *unix.Rusage) backend.ExitStatus {
	st := backend.ExitStatus{
		UserTime:    time.Duration(ru.Utime.Nano()),
		SystemTime:  time.Duration(ru.Stime.Nano()),
		MaxRSSBytes: ru.Maxrss << 10, // KiB, getrusage(2)
	}
	if ws.Signaled() {
		st.Signal = int(ws.Signal())
		st.Code = 128 + st.Signal
		return st
	}
	st.Code = ws.ExitStatus()
	return st
}

func texts(raw [][]byte) []string {
	out := make([]string, len(raw))
	for i, r := range raw {
		out[i] = string(r)
	}
	return out
}

func failed(code int, why string) backend.ExitStatus {
	return backend.ExitStatus{Code: code, StartError: why}
}
