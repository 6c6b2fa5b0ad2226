package tools

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// bottleKey tells a bottle from a later one of the same id.
type bottleKey struct {
	id      backend.ID
	created int64 // unix nanoseconds
}

// jobs holds the background jobs of this process, and per bottle how much
// output may still be kept. All of it is bounded: the callers are not trusted.
type jobs struct {
	limits Limits
	log    *slog.Logger
	nonce  string // makes ids of different servers differ
	base   context.Context
	cancel context.CancelCauseFunc
	ended  sync.WaitGroup

	mu      sync.Mutex
	last    int
	closed  bool
	list    []*job // oldest first
	budgets map[backend.ID]*atomic.Int64
}

func newJobs(limits Limits, log *slog.Logger) *jobs {
	base, cancel := context.WithCancelCause(context.Background())
	var nonce [2]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return &jobs{
		limits: limits, log: log, nonce: hex.EncodeToString(nonce[:]),
		base: base, cancel: cancel,
		budgets: map[backend.ID]*atomic.Int64{},
	}
}

// start gives j an id and runs it. It evicts finished jobs, oldest first, where
// there are too many.
func (s *jobs) start(j *job) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errShutdown
	}
	same := func(other *job) bool { return other.bottle == j.bottle }
	if err := s.makeRoom(s.limits.JobsPerBottle, same); err != nil {
		return fmt.Errorf("bottle %s has %w", j.bottle.id, err)
	}
	if j.guest {
		if err := s.makeRoom(s.limits.JobsOfBottles, func(other *job) bool { return other.guest }); err != nil {
			return fmt.Errorf("bottles that call have together %w", err)
		}
	}
	if err := s.makeRoom(s.limits.Jobs, func(*job) bool { return true }); err != nil {
		return fmt.Errorf("this server has %w", err)
	}
	s.last++
	j.id = fmt.Sprintf("j%d-%s", s.last, s.nonce)
	j.started = time.Now()
	j.done = make(chan struct{})
	ctx, stop := context.WithCancelCause(s.base)
	j.stop = stop
	s.list = append(s.list, j)
	s.ended.Go(func() {
		defer stop(nil)
		j.work(ctx, s.log)
	})
	return nil
}

// makeRoom leaves at most limit-1 of the jobs that count.
func (s *jobs) makeRoom(limit int, counts func(*job) bool) error {
	n := 0
	for _, j := range s.list {
		if counts(j) {
			n++
		}
	}
	s.list = slices.DeleteFunc(s.list, func(j *job) bool {
		if n < limit || !counts(j) || !j.over() {
			return false
		}
		n--
		return true
	})
	if n >= limit {
		return fmt.Errorf("%d background jobs running, which is the limit: wait for one, or signal it", n)
	}
	return nil
}

// find returns a bottle's job.
func (s *jobs) find(bottle bottleKey, id string) (*job, error) {
	var known []string
	for _, j := range s.of(bottle) {
		if j.id == id {
			return j, nil
		}
		known = append(known, j.id)
	}
	return nil, &argumentError{
		Field:   "job",
		Problem: fmt.Sprintf("names no job of bottle %s in this server: %.40q; jobs end with the server that started them, and finished ones make room for new ones", bottle.id, id),
		Allowed: known,
	}
}

// of lists a bottle's jobs, oldest first.
func (s *jobs) of(bottle bottleKey) []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*job
	for _, j := range s.list {
		if j.bottle == bottle {
			found = append(found, j)
		}
	}
	return found
}

// forget ends and drops the jobs of a bottle that was removed.
func (s *jobs) forget(id backend.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.budgets, id)
	s.list = slices.DeleteFunc(s.list, func(j *job) bool {
		if j.bottle.id == id {
			j.stop(errRemoved)
			return true
		}
		return false
	})
}

// budget is what the outputs of a bottle's commands may still take on disk. It
// is kept by id: a bottle that is removed elsewhere and launched again goes on
// with what is left, which is safe.
func (s *jobs) budget(id backend.ID) *atomic.Int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.budgets[id]
	if b == nil {
		b = &atomic.Int64{}
		b.Store(s.limits.OutputBytesPerBottle)
		s.budgets[id] = b
	}
	return b
}

// closeWait is how long Close waits; a killed command takes a second at most.
const closeWait = 5 * time.Second

// Close ends all jobs and waits until their commands are dead.
func (s *jobs) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel(errShutdown)
	dead := make(chan struct{})
	go func() {
		s.ended.Wait()
		close(dead)
	}()
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-dead:
		return nil
	case <-timer.C:
		return fmt.Errorf("background jobs did not end within %s: %s; their bottles end with their time limit, or by cleanup", closeWait, s.stuck())
	}
}

// stuck names the jobs that still run.
func (s *jobs) stuck() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, j := range s.list {
		if !j.over() {
			names = append(names, fmt.Sprintf("%s in %s", j.id, j.bottle.id))
		}
	}
	if len(names) == 0 {
		return "jobs of removed bottles"
	}
	return strings.Join(names, ", ")
}
