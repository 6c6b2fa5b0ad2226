package pid1

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// maxRetired bounds the replaced daemons that still finish something.
const maxRetired = 2

// service keeps one daemon alive. All but its fields under mu belong to the
// goroutine of run.
type service struct {
	name     sidecars.Service
	launch   func(context.Context, *settings) (*child, error)
	timing   timing
	log      *slog.Logger
	reloads  chan reload
	settings *settings
	main     *child
	retired  []*child
	ending   sync.WaitGroup // of retired ones

	mu     sync.Mutex
	daemon Daemon
	worst  int // the largest exit code
}

// reload asks for other settings; the error says why they were not taken.
type reload struct {
	settings *settings
	done     chan error
}

func newService(l *launcher, s *settings, t timing, log *slog.Logger) *service {
	return &service{name: l.name, launch: l.launch, timing: t, log: log.With("daemon", l.name), reloads: make(chan reload), settings: s}
}

// run starts the daemon, and starts it again whenever it dies, until ctx ends.
// Then it ends the daemon, which may take the grace that grace returns.
func (s *service) run(ctx context.Context, grace func() time.Duration) {
	var pause time.Duration
	for ctx.Err() == nil {
		served := s.serve(ctx)
		if ctx.Err() != nil {
			break
		}
		pause = s.timing.nextPause(pause, served)
		s.log.Warn("the daemon is down; nothing gets out until it is back", "restart_after", pause)
		s.rest(ctx, pause)
		s.note(func(d *Daemon) { d.Restarts++ })
	}
	s.endAll(grace(), s.main)
	s.note(func(d *Daemon) { d.Alive, d.PID = false, 0 })
}

// serve returns when the daemon has died, or ctx ended, and tells how long it
// served.
func (s *service) serve(ctx context.Context) time.Duration {
	c, err := s.launch(ctx, s.settings)
	if err != nil {
		s.failed(ctx, err)
		return 0
	}
	s.become(c)
	for {
		select {
		case <-ctx.Done():
			return 0
		case r := <-s.reloads:
			r.done <- s.change(ctx, r.settings)
		case <-s.main.done:
			served := time.Since(s.main.served)
			s.log.Error("the daemon died", "code", s.main.code(), "served", served)
			s.exited(s.main)
			s.main = nil
			s.note(func(d *Daemon) { d.Alive, d.PID = false, 0 })
			return served
		}
	}
}

func (s *service) become(c *child) {
	s.main = c
	s.note(func(d *Daemon) { d.Alive, d.PID = true, c.pid })
	s.log.Info("the daemon serves", "pid", c.pid)
}

// rest waits before a restart. New settings, which were validated, are a
// reason to start at once.
func (s *service) rest(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case r := <-s.reloads:
		s.settings = r.settings
		r.done <- nil
	}
}

// change puts new settings in force. The daemon that serves does it itself, so
// that requests which stay allowed go on and budgets stay spent. Another one
// takes its place where it cannot: when upstreams are verified with other roots,
// or when it does not answer.
func (s *service) change(ctx context.Context, next *settings) error {
	if s.settings.same(s.name, next) {
		s.settings = next
		return nil
	}
	if s.name == sidecars.Bottles {
		return s.replace(ctx, next, false) // its token is for life
	}
	if !bytes.Equal(s.settings.roots, next.roots) {
		return s.replace(ctx, next, s.settings.widens(next))
	}
	err := s.main.reload(ctx, next, s.timing.start)
	var refused *refusedError
	switch {
	case err == nil:
	case errors.As(err, &refused), ctx.Err() != nil:
		return err
	default:
		s.log.Error("the daemon does not answer; another takes its place", "error", printable(err.Error()))
		return s.replace(ctx, next, false)
	}
	narrower := !s.settings.widens(next)
	s.settings = next
	if narrower {
		s.endAll(s.timing.farewell, nil) // those that were replaced know the old ones
	}
	return nil
}

// replace puts a daemon with new settings in the place of the one that serves.
// Both have the listeners for a moment, so no connection is refused. The old one
// may finish what it has begun, or is gone when replace returns.
func (s *service) replace(ctx context.Context, next *settings, finish bool) error {
	c, err := s.launch(ctx, next)
	if err != nil {
		s.failed(ctx, err)
		return err
	}
	old := s.main
	s.settings = next
	s.become(c)
	if finish {
		s.retire(old)
		return nil
	}
	// What began under a wider policy must not outlive it.
	s.endAll(s.timing.farewell, old)
	return nil
}

// retire lets a daemon finish what it has begun, for a while.
func (s *service) retire(old *child) {
	s.forgetEnded()
	if len(s.retired) >= maxRetired {
		_ = s.retired[0].signal(unix.SIGTERM)
	}
	s.retired = append(s.retired, old)
	old.drain()
	s.ending.Go(func() {
		timer := time.NewTimer(s.timing.drain)
		defer timer.Stop()
		select {
		case <-old.done:
		case <-timer.C:
			old.end(s.timing.farewell)
		}
		_ = old.control.Close()
		s.exited(old)
	})
}

func (s *service) forgetEnded() {
	kept := s.retired[:0]
	for _, c := range s.retired {
		if !c.ended() {
			kept = append(kept, c)
		}
	}
	s.retired = kept
}

// endAll ends all replaced daemons and main, when there is one, within one
// grace.
func (s *service) endAll(grace time.Duration, main *child) {
	var all sync.WaitGroup
	for _, c := range s.retired {
		all.Go(func() { c.end(grace) })
	}
	if main != nil {
		all.Go(func() {
			main.end(grace)
			s.exited(main)
		})
	}
	all.Wait()
	s.ending.Wait()
	s.retired = nil
}

// failed records a start that came to nothing. One that was interrupted is no
// failure of the daemon.
func (s *service) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.log.Error("the daemon did not start", "error", printable(err.Error()))
	var start *startError
	if errors.As(err, &start) {
		s.count(start.code)
	}
}

// exited counts the exit code of a daemon that is gone. That one had no time
// to answer SIGTERM is no crash.
func (s *service) exited(c *child) {
	if code := c.code(); code != 128+int(unix.SIGTERM) {
		s.count(code)
	}
}

func (s *service) count(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worst = max(s.worst, code)
}

func (s *service) note(change func(*Daemon)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.daemon)
}

// state is what there is to tell about the daemon, and the largest exit code.
func (s *service) state() (Daemon, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.daemon, s.worst
}

// reload hands over new settings and waits until they are in force.
func (s *service) reload(ctx context.Context, next *settings) error {
	r := reload{next, make(chan error, 1)}
	select {
	case s.reloads <- r:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
