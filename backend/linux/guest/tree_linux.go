package guest

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// A command's process tree cannot be followed by parentage: a process that
// forks twice and calls setsid leaves parent, group and session behind. So
// every job gets a marker that is inherited and cannot be shed: a value of
// the hard limit RLIMIT_RTTIME, which concerns real-time scheduling alone
// (nothing in a bottle may use that) and can only be lowered without
// CAP_SYS_RESOURCE. Markers count down. So a process that lowers its own can
// only name a job that does not exist yet, which gives it away: whoever bears
// no issued marker is killed with the next tree that is killed.

// firstMarker is high enough never to limit anything and to last for ever.
func firstMarker() (uint64, error) {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_RTTIME, &now); err != nil {
		return 0, fmt.Errorf("read the real-time limit: %w", err)
	}
	return min(now.Max-1, 1<<62), nil
}

// markJob gives the marker to this process, for the next child to inherit.
func markJob(marker uint64) error {
	if err := unix.Setrlimit(unix.RLIMIT_RTTIME, &unix.Rlimit{Cur: marker, Max: marker}); err != nil {
		return fmt.Errorf("mark the job: %w", err)
	}
	return nil
}

// signal sends sig to every process of a running job.
func (s *server) signal(id uint64, sig unix.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, ok := s.jobs[id]
	if !ok || sig <= 0 || sig > 64 {
		return
	}
	for _, pid := range s.tree(j.marker) {
		_ = unix.Kill(pid, sig)
	}
}

// kill ends a job's whole tree: stop everything first, so that nothing forks
// away, then kill, until nothing is left.
func (s *server) kill(id uint64) {
	s.mu.Lock()
	j, ok := s.jobs[id]
	if ok {
		j.killed.Add(1)
	}
	s.mu.Unlock()
	if !ok {
		return
	}
	defer j.killed.Done()
	// Nobody waits for its output any more.
	defer j.once.Do(func() { close(j.dead) })
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		s.freeze(j.marker)
		s.mu.Lock()
		left := s.tree(j.marker)
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		s.mu.Unlock()
		// What died is collected now, so that nothing of it counts against
		// the limit of processes when the end is told.
		s.reap()
		if len(left) == 0 {
			return
		}
		time.Sleep(pause)
	}
}

// freeze stops the tree until no new process shows up; three rounds catch what
// forked while the first one walked.
func (s *server) freeze(marker uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := 0
	for range 3 {
		pids := s.tree(marker)
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGSTOP)
		}
		if len(pids) == seen {
			return
		}
		seen = len(pids)
	}
}

// tree lists the live processes that bear marker, and those that bear none
// that was issued. The caller holds mu: a pid cannot be reused while its
// process is unreaped, and only reap, which needs mu, reaps.
func (s *server) tree(marker uint64) []int {
	var out []int
	for _, pid := range processes() {
		m, ok := readMarker(pid)
		if !ok {
			continue
		}
		stray := m <= s.next || m > s.first
		if m == marker || stray {
			out = append(out, pid)
		}
	}
	return out
}

// processes lists every process but PID 1.
func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1)
	var out []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil && pid > 1 {
			out = append(out, pid)
		}
	}
	return out
}

// readMarker reads a live process's hard RLIMIT_RTTIME; not ok means that it
// is dead or gone.
func readMarker(pid int) (uint64, bool) {
	base := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(base + "/stat")
	if err != nil || zombie(stat) {
		return 0, false
	}
	limits, err := os.ReadFile(base + "/limits")
	if err != nil {
		return 0, false
	}
	return parseMarker(limits)
}

func zombie(stat []byte) bool {
	// The state follows the command name, which may hold anything but ends at
	// the last parenthesis.
	i := bytes.LastIndexByte(stat, ')')
	return i < 0 || i+2 >= len(stat) || stat[i+2] == 'Z' || stat[i+2] == 'X'
}

// parseMarker reads the "Max realtime timeout" line of /proc/PID/limits: name,
// soft, hard, unit.
func parseMarker(limits []byte) (uint64, bool) {
	const name = "Max realtime timeout"
	_, rest, ok := bytes.Cut(limits, []byte(name))
	if !ok {
		return 0, false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 2 {
		return 0, false
	}
	if string(f[1]) == "unlimited" {
		return ^uint64(0), true
	}
	v, err := strconv.ParseUint(string(f[1]), 10, 64)
	return v, err == nil
}

// usage sums up what the guest uses.
func usage() backend.Usage {
	u := backend.Usage{DiskBytes: -1}
	page := int64(os.Getpagesize())
	for _, pid := range append(processes(), 1) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
		if err != nil {
			continue
		}
		u.PIDs++
		if f := bytes.Fields(stat); len(f) > 2 {
			rss, _ := strconv.ParseInt(string(f[1]), 10, 64)
			shared, _ := strconv.ParseInt(string(f[2]), 10, 64)
			u.MemoryBytes += (rss - shared) * page
		}
	}
	var fs unix.Statfs_t
	if unix.Statfs("/tmp", &fs) == nil {
		u.DiskBytes = int64(fs.Blocks-fs.Bfree) * fs.Bsize //nolint:gosec // sizes of a bounded tmpfs
	}
	var self, kids unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &self) == nil && unix.Getrusage(unix.RUSAGE_CHILDREN, &kids) == nil {
		u.CPUSeconds = float64(self.Utime.Nano()+self.Stime.Nano()+kids.Utime.Nano()+kids.Stime.Nano()) / 1e9
	}
	return u
}
