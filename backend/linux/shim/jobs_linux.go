package shim

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/guest"
)

// maxJobs bounds the commands that run at once in one bottle.
const maxJobs = 256

// statsTimeout bounds the wait for the guest's own figures.
const statsTimeout = 300 * time.Millisecond

// jobTable matches the guest's events to who waits for them. An event that
// names nothing here is ignored: the guest cannot make the table grow.
type jobTable struct {
	mu    sync.Mutex
	next  uint64
	wait  map[uint64]chan guest.Event
	ended bool
}

func newJobTable() *jobTable { return &jobTable{wait: map[uint64]chan guest.Event{}} }

// open reserves a job number.
func (t *jobTable) open() (uint64, chan guest.Event, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return 0, nil, backend.ErrNotRunning
	}
	if len(t.wait) >= maxJobs {
		return 0, nil, fmt.Errorf("%d commands run in this bottle already: wait for one to end", maxJobs)
	}
	t.next++
	ch := make(chan guest.Event, 1)
	t.wait[t.next] = ch
	return t.next, ch, nil
}

func (t *jobTable) close(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.wait, id)
}

// events delivers the guest's events until its socket breaks.
func (t *jobTable) events(c *frame.Conn, end func()) {
	defer end()
	for {
		var e guest.Event
		if err := c.Recv(&e); err != nil {
			return
		}
		t.mu.Lock()
		ch, ok := t.wait[e.Job]
		delete(t.wait, e.Job) // one event each
		t.mu.Unlock()
		if ok {
			ch <- e
		}
	}
}

// fail tells everybody who waits that the guest is gone.
func (t *jobTable) fail() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	for id, ch := range t.wait {
		close(ch)
		delete(t.wait, id)
	}
}

// exec runs one command for the server at the other end of c. When that goes
// away, the command's tree is killed.
func (s *shim) exec(c *frame.Conn, req Request, files []*os.File) {
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	if err := s.ready(); err != nil {
		reply(c, err)
		return
	}
	id, ended, err := s.jobs.open()
	if err != nil {
		reply(c, err)
		return
	}
	defer s.jobs.close(id)
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
		s.giveToGuest(fds[i])
	}
	g := s.guest.conn
	err = g.Send(guest.Request{Op: guest.OpExec, Job: id, Argv: req.Argv, Dir: req.Dir, User: req.User, Env: req.Env, TTY: req.TTY}, fds...)
	if err != nil {
		reply(c, fmt.Errorf("start the command: %w", errors.Join(err, backend.ErrNotRunning)))
		return
	}
	for _, f := range files {
		_ = f.Close() // so that the server sees the end of output
	}
	files = nil
	go func() {
		defer func() { _ = g.Send(guest.Request{Op: guest.OpKill, Job: id}) }()
		for {
			var next Request
			if c.Recv(&next) != nil || next.Op == OpKill {
				return
			}
			if next.Op == OpSignal {
				_ = g.Send(guest.Request{Op: guest.OpSignal, Job: id, Signal: next.Signal})
			}
		}
	}()
	e, ok := <-ended
	if !ok {
		reply(c, fmt.Errorf("the bottle ended while the command ran: %w", backend.ErrNotRunning))
		return
	}
	_ = c.Send(Reply{Status: &e.Status})
}

// giveToGuest hands a pipe to the guest's agent, so that /dev/stdout can be
// opened again there. Only a host root maps other ids.
func (s *shim) giveToGuest(fd int) {
	var st unix.Stat_t
	// Nothing but a pipe: an absent stream is the host's own /dev/null.
	if s.multi && unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
		_ = unix.Fchown(fd, s.base+backend.AgentUID, s.base+backend.AgentUID)
	}
}

// usage asks the control group and the guest.
func (s *shim) usage() backend.Usage {
	u := backend.Usage{MemoryBytes: -1, DiskBytes: -1, PIDs: -1, CPUSeconds: -1}
	if s.ready() == nil {
		if id, ch, err := s.jobs.open(); err == nil {
			defer s.jobs.close(id)
			if s.guest.conn.Send(guest.Request{Op: guest.OpStats, Job: id}) == nil {
				select {
				case e, ok := <-ch:
					if ok {
						u = e.Stats
					}
				case <-time.After(statsTimeout):
				}
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.group != nil {
		if n := s.group.MemoryBytes(); n >= 0 {
			u.MemoryBytes = n
		}
	}
	return u
}

func (s *shim) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return fmt.Errorf("the bottle has ended: %w", backend.ErrNotRunning)
	}
	if !s.agentUp {
		return fmt.Errorf("the bottle's agent has not been started: %w", backend.ErrNotRunning)
	}
	return nil
}
