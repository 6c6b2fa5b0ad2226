package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/cgroup"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/guest"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/walls"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// controlFD is the server's socket at start.
const controlFD = 3

// sidecarGrace is how long a sidecar may take to end by itself.
const sidecarGrace = 500 * time.Millisecond

// stepTimeout bounds every wait for a child's answer.
const stepTimeout = 20 * time.Second

// shim is one bottle's keeper.
type shim struct {
	start Start
	multi bool // a range of ids is mapped, from base on
	base  int
	group *cgroup.Group
	jobs  *jobTable

	mu                  sync.Mutex
	state               State
	guest               *child
	sidecar             *child
	agentAsked, agentUp bool
	ordered             bool // it keeps a bottle, or is about to
	ending              bool
	serving             chan error    // one value: whether the sidecar serves
	served              chan struct{} // closed when it does
	reloading           sync.Mutex    // held while the sidecar is asked to reload
	grouped             chan struct{} // closed when group and groupErr are set; nil before there is a guest
	groupErr            error
	done                chan struct{} // closed when everything has been torn down
	once                sync.Once
}

// Main is the shim's process. It returns its exit code.
func Main() int {
	runtime.LockOSThread() // children die with this thread
	// Whatever the server's own parent left open must not reach the guest.
	if err := unix.CloseRange(controlFD+1, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return 2
	}
	conn, err := frame.FromFD(controlFD, "server", frame.MaxHost)
	if err != nil {
		return 2
	}
	s := &shim{
		serving: make(chan error, 1), served: make(chan struct{}), done: make(chan struct{}), jobs: newJobTable(),
		multi: os.Getuid() == 0, base: newBase(),
	}
	err = s.spawnBoth()
	if err == nil {
		err = s.boot(conn)
	}
	if err != nil {
		s.end(false)
		_ = conn.Send(Reply{Error: err.Error()})
		return 1
	}
	if err := conn.Send(Reply{}); err != nil {
		s.end(false) // the server is gone before it knew of the bottle
		return 1
	}
	_ = conn.Close()
	debug.FreeOSMemory() // it waits from here on, and there may be many like it
	s.wait()
	return 0
}

// spawnBoth starts sidecar and guest. Neither knows of a bottle yet, so that a
// server may have them started before it needs one.
func (s *shim) spawnBoth() error {
	unix.Umask(0o077)
	if err := walls.NoCore(); err != nil {
		return err
	}
	var err error
	if s.sidecar, err = spawn(jail.Args(s.multi), sidecarAttr(s.multi, s.base), frame.MaxGuest); err != nil {
		return err
	}
	s.sidecar.watch(s.sidecarEnded)
	c, err := spawn([]string{"guest", "init"}, guestAttr(s.multi, s.base), frame.MaxGuest)
	if err != nil {
		return err
	}
	grouped := make(chan struct{})
	s.mu.Lock() // a sidecar that dies at once has end look at these already
	s.guest, s.grouped = c, grouped
	s.mu.Unlock()
	// Moving a process waits for an RCU grace period per hierarchy.
	go func() {
		defer close(grouped)
		s.group = cgroup.Create(cgroup.Root, cgroup.SparePrefix+strconv.Itoa(os.Getpid()))
		s.groupErr = s.group.Add(c.proc.PID)
	}()
	c.watch(func() { s.end(false) })
	return nil
}

// boot waits for the start frame and brings guest and sidecar to where they
// serve. A server that goes away without one has no use for them any more.
func (s *shim) boot(conn *frame.Conn) error {
	if err := conn.Recv(&s.start); err != nil {
		return fmt.Errorf("read the start request: %w", err)
	}
	secrets, err := conn.RecvBytes()
	if err != nil {
		return fmt.Errorf("read the bottle's secrets: %w", err)
	}
	defer clear(secrets)
	setTitle(s.start.ID)
	s.mu.Lock()
	s.ordered = true
	ended := s.ending
	s.mu.Unlock()
	if ended {
		return errors.New("guest or sidecar ended before they got anything to do")
	}
	if err := conn.SetDeadline(time.Now().Add(stepTimeout)); err != nil {
		return err
	}
	if err := os.Chdir(s.start.Dir); err != nil {
		return fmt.Errorf("enter the bottle's directory: %w", err)
	}
	logs, err := openLogs()
	if err != nil {
		return err
	}
	defer closeFiles(logs)
	// The record is for when this process is gone, and its children die with
	// it: writing it need not hold up the start.
	recorded := make(chan error, 1)
	go func() { recorded <- s.record() }()
	err = s.connectServices(logs, secrets)
	<-s.grouped
	if err = errors.Join(err, <-recorded, s.groupErr); err != nil {
		return err
	}
	if err := s.group.Rename(cgroup.Name(s.start.Owner, s.start.ID), s.guest.proc.PID); err != nil {
		return err
	}
	_ = walls.Undumpable() // after the forks: an undumpable parent cannot write the id maps
	return s.listen()
}

// openLogs opens the files of the ledger and the errors' log, and lets the
// latter be this process's standard error too.
func openLogs() ([]*os.File, error) {
	var logs []*os.File
	for _, name := range append(ledger.Names(), ErrorFile) {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
		if err != nil {
			closeFiles(logs)
			return nil, fmt.Errorf("open the bottle's logs: %w", err)
		}
		logs = append(logs, f)
	}
	if err := unix.Dup3(int(logs[len(logs)-1].Fd()), unix.Stderr, 0); err != nil {
		closeFiles(logs)
		return nil, fmt.Errorf("redirect errors to the bottle's log: %w", err)
	}
	return logs, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// connectServices carries the guest's listeners, configuration, secrets and the
// logs to the sidecar. The secrets are forgotten here.
func (s *shim) connectServices(logs []*os.File, secrets []byte) error {
	deadline := time.Now().Add(stepTimeout)
	if err := errors.Join(s.guest.conn.SetDeadline(deadline), s.sidecar.conn.SetDeadline(deadline)); err != nil {
		return err
	}
	if err := s.guest.conn.Send(guest.Listen{Ports: ports(s.start.Services)}); err != nil {
		return fmt.Errorf("ask the guest for its listeners: %w", err)
	}
	var done guest.Done
	files, err := s.guest.conn.RecvFiles(&done)
	if err != nil || done.Error != "" {
		return fmt.Errorf("open the guest's listeners: %w", orError(err, done.Error))
	}
	defer closeFiles(files)
	way, err := s.openWay()
	if err != nil {
		return err
	}
	defer closeFiles(way)
	var fds []int
	for _, f := range slices.Concat(files, logs, way) {
		fds = append(fds, int(f.Fd()))
	}
	c := s.sidecar.conn
	if err = c.Send(jail.Start{Services: s.start.Services, Config: s.start.Config}, fds...); err == nil {
		err = c.SendBytes(secrets)
	}
	clear(secrets)
	s.start.Config = sidecars.Config{}
	go func() { s.serving <- s.awaitSidecar(err) }()
	return nil
}

// awaitSidecar waits until the sidecar serves. The agent's start waits for
// that and not the sidecar's: connections queue at the listeners meanwhile,
// and the two processes start side by side. A sidecar that failed says why
// before it ends, so its answer is read even when it did not take its orders.
func (s *shim) awaitSidecar(sendErr error) error {
	var ready jail.Done
	if err := s.sidecar.conn.Recv(&ready); err != nil || ready.Error != "" || sendErr != nil {
		return fmt.Errorf("start the sidecar: %w", orError(errors.Join(sendErr, err), ready.Error))
	}
	if err := s.sidecar.conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	close(s.served)
	return nil
}

func ports(services []sidecars.Service) []int {
	var out []int
	for _, svc := range services {
		out = append(out, svc.Port())
	}
	return out
}

func orError(err error, text string) error {
	if text != "" {
		return errors.New(text)
	}
	return err
}

// agent lets the guest build its root, raise its walls and serve.
func (s *shim) agent(a Agent) error {
	if err := s.claimAgent(a.Limits); err != nil {
		return err
	}
	preferAsVictim(s.guest.proc.PID)
	c := s.guest.conn
	if err := c.SetDeadline(time.Now().Add(stepTimeout)); err != nil {
		return err
	}
	setup := guest.Setup{
		Hostname: s.start.ID, Multi: s.multi, CACert: a.CACert, SystemFiles: a.SystemFiles, DiskBytes: a.Limits.DiskBytes,
	}
	serve := guest.Serve{Multi: s.multi, Env: a.Env, PIDs: a.Limits.PIDs}
	if err := errors.Join(c.Send(setup), c.Send(serve)); err != nil {
		return fmt.Errorf("configure the guest: %w", err)
	}
	var done guest.Done
	if err := c.Recv(&done); err != nil || done.Error != "" {
		return fmt.Errorf("start the guest: %w", orError(err, done.Error))
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if err := <-s.serving; err != nil {
		return err
	}
	s.mu.Lock()
	s.agentUp = true
	s.mu.Unlock()
	go s.jobs.events(c, func() { s.end(false) })
	return nil
}

// claimAgent makes the caller the one who starts the agent, and sets limits.
func (s *shim) claimAgent(limits backend.Limits) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return fmt.Errorf("the bottle has ended: %w", backend.ErrNotRunning)
	}
	if s.agentAsked {
		return fmt.Errorf("the bottle's agent has been started: %w", backend.ErrExists)
	}
	s.agentAsked = true
	s.group.Limit(limits)
	s.state.InForce, s.state.Missing = s.group.InForce, s.group.Missing
	return nil
}

// preferAsVictim makes the kernel kill the guest before the host's processes
// when memory runs out.
func preferAsVictim(pid int) {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("500"), 0)
}

func (s *shim) sidecarEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ordered {
		go s.end(false) // of no use to anybody
		return
	}
	if !s.ending {
		// The listeners died with the sidecar: the guest is refused at once and
		// has no way out. List tells that the bottle is degraded.
		fmt.Fprintln(os.Stderr, "the sidecar has ended: the bottle has no way out")
	}
}

// end tears the bottle down, once.
func (s *shim) end(expired bool) {
	s.once.Do(func() {
		s.mu.Lock()
		s.ending = true
		guestChild, sidecar, grouped := s.guest, s.sidecar, s.grouped
		s.mu.Unlock()
		guestChild.end(0)
		sidecar.end(sidecarGrace) // it has nobody to serve any more, and a ledger to end
		s.jobs.fail()
		ctx, cancel := timeout(5 * time.Second)
		defer cancel()
		if grouped != nil {
			<-grouped
			if err := s.group.Remove(ctx); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		_ = os.Remove(SocketFile)
		s.mu.Lock()
		s.state.Expired = expired
		if s.start.Dir != "" {
			_ = s.recordLocked()
		}
		s.mu.Unlock()
		close(s.done)
	})
}

// wait blocks until the bottle has ended or expired.
func (s *shim) wait() {
	expiry := time.NewTimer(time.Until(s.start.Expires))
	defer expiry.Stop()
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGTERM, unix.SIGINT)
	signal.Ignore(unix.SIGHUP) // a closed terminal does not end bottles
	go s.endWithRecord()
	select {
	case <-s.done:
	case <-asked:
		s.end(false)
	case <-expiry.C:
		s.end(true)
	}
	<-s.done
}

// recordCheck is how often the shim looks whether its record is still there.
const recordCheck = 5 * time.Second

// endWithRecord ends a bottle whose record somebody deleted: no server could
// find it any more, and it would live on until its expiry.
func (s *shim) endWithRecord() {
	tick := time.NewTicker(recordCheck)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
			if _, err := os.Lstat(StateFile); errors.Is(err, os.ErrNotExist) {
				s.end(false)
				return
			}
		}
	}
}

// record writes the state file, atomically.
func (s *shim) record() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recordLocked()
}

func (s *shim) recordLocked() error {
	st := &s.state
	st.ID, st.Owner, st.Created, st.Expires = s.start.ID, s.start.Owner, s.start.Created, s.start.Expires
	st.Multi, st.Services, st.Boot = s.multi, s.start.Services, BootID()
	self, err := Identify(os.Getpid())
	if err != nil {
		return err
	}
	st.Shim = self
	if s.guest != nil {
		st.Guest = s.guest.proc
	}
	if s.sidecar != nil {
		st.Sidecar = s.sidecar.proc
	}
	data, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the bottle's state: %w", err)
	}
	tmp := StateFile + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("write the bottle's state: %w", err)
	}
	if err := os.Rename(tmp, filepath.Clean(StateFile)); err != nil {
		return fmt.Errorf("write the bottle's state: %w", err)
	}
	return nil
}
