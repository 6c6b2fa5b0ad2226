package guest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/walls"
)

// spareThreads are what process 1 has before its commands can use up all
// processes of the bottle: the frames', the signals', the reapers', and as many
// again for calls that wait in the kernel.
const spareThreads = 8

// ServeMain is the second stage: it answers the shim until the socket closes,
// which ends the bottle, as PID 1's death ends every process in it.
func ServeMain() int {
	// Commands are forked from this thread, the one that sheds its inheritable
	// capabilities.
	runtime.LockOSThread()
	debug.SetMemoryLimit(64 << 20)
	conn, err := frame.FromFD(ControlFD, "shim", frame.MaxHost)
	if err != nil {
		return 1
	}
	if err := serve(conn); err != nil {
		_ = conn.Send(Done{Error: err.Error()})
		return 1
	}
	return 0
}

func serve(conn *frame.Conn) error {
	var cfg Serve
	if err := conn.Recv(&cfg); err != nil {
		return fmt.Errorf("read the serve request: %w", err)
	}
	if err := finalWalls(cfg.Multi); err != nil {
		return err
	}
	walls.ReserveThreads(spareThreads, runtime.NumCPU())
	s, err := newServer(conn, cfg)
	if err != nil {
		return err
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	surviveSignals()
	go func() {
		for range children {
			s.reap()
		}
	}()
	if err := conn.Send(Done{}); err != nil {
		return err
	}
	s.requests()
	return nil
}

// surviveSignals keeps "kill -1" of a command from ending the bottle where the
// agent and PID 1 share one user id. The signals are caught, not ignored: that
// would be inherited by commands.
func surviveSignals() {
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGABRT,
		unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM, unix.SIGVTALRM, unix.SIGPROF,
		unix.SIGTTIN, unix.SIGTTOU, unix.SIGTSTP, unix.SIGIO, unix.SIGPWR, unix.SIGXCPU, unix.SIGXFSZ)
}

// finalWalls sheds what only the way here needed. The bounding set is empty
// already, so commands of uid 0 get nothing either.
func finalWalls(multi bool) error {
	return errors.Join(walls.SetCaps(keptCaps(multi), 0), walls.Undumpable(), walls.DieWithParent(), walls.RaiseFileLimit())
}

// requests handles frames until the shim goes away or breaks the protocol.
func (s *server) requests() {
	for {
		var req Request
		files, err := s.conn.RecvFiles(&req)
		if err != nil {
			return
		}
		switch req.Op {
		case OpExec:
			s.exec(req, files)
		case OpSignal:
			s.signal(req.Job, unix.Signal(req.Signal))
		case OpKill:
			go s.kill(req.Job)
		case OpStats:
			s.send(Event{Op: EvStats, Job: req.Job, Stats: usage()})
		default:
			slog.Log(context.Background(), slog.LevelWarn, "unknown request", "op", req.Op)
		}
		for _, f := range files {
			_ = f.Close() // the command has its own copies
		}
	}
}

// send writes an event. Without the shim there is nobody to tell, and the
// read loop ends the bottle.
func (s *server) send(e Event) { _ = s.conn.Send(e) }
