package vmguest

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// process is one process as a scan of /proc saw it.
type process struct {
	pid, parent, group int
	// started tells a process from a later one with the same pid.
	started uint64
	dead    bool
}

// pids lists everything that runs, the newest first as a rule: what forks and
// ends all the time has to be looked at soon.
func pids() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1)
	out := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			out = append(out, pid)
		}
	}
	slices.Reverse(out)
	return out
}

// processes looks at everything that runs.
func processes() map[int]process {
	out := map[int]process{}
	for _, pid := range pids() {
		if p, ok := lookAt(pid); ok {
			out[pid] = p
		}
	}
	return out
}

func lookAt(pid int) (process, bool) {
	stat, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return process{}, false
	}
	return parseStat(pid, stat)
}

func procPath(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// Fields of /proc/PID/stat counted from the state, which follows the command
// name; that may hold anything but ends at the last parenthesis.
const (
	statState   = 0
	statParent  = 1
	statGroup   = 2
	statThreads = 17
	statStarted = 19
)

func parseStat(pid int, stat []byte) (process, bool) {
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) <= statStarted {
		return process{}, false
	}
	parent, err1 := strconv.Atoi(string(f[statParent]))
	group, err4 := strconv.Atoi(string(f[statGroup]))
	threads, err2 := strconv.Atoi(string(f[statThreads]))
	started, err3 := strconv.ParseUint(string(f[statStarted]), 10, 64)
	if errors.Join(err1, err2, err3, err4) != nil {
		return process{}, false
	}
	// A process whose first thread has ended looks like a zombie as long as its
	// other threads run.
	state := f[statState][0]
	dead := state == 'X' || (state == 'Z' && threads <= 1)
	return process{pid: pid, parent: parent, group: group, started: started, dead: dead}, true
}

// send sends a signal to p and to no later process with its pid.
func (p process) send(sig unix.Signal) {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		if errors.Is(err, unix.ENOSYS) {
			_ = unix.Kill(p.pid, sig)
		}
		return
	}
	defer func() { _ = unix.Close(fd) }()
	if now, ok := lookAt(p.pid); ok && now.started == p.started {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}

// gone reports whether p has ended.
func (p process) gone() bool {
	now, ok := lookAt(p.pid)
	return !ok || now.dead || now.started != p.started
}

// readMarker reads a process's marker, see mark; not ok means that it is gone.
func readMarker(pid int) (uint64, bool) {
	limits, err := os.ReadFile(procPath(pid, "limits"))
	if err != nil {
		return 0, false
	}
	return parseMarker(limits)
}

// parseMarker reads the line of RLIMIT_RTTIME: name, soft, hard, unit.
func parseMarker(limits []byte) (uint64, bool) {
	_, rest, ok := bytes.Cut(limits, []byte("Max realtime timeout"))
	if !ok {
		return 0, false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 2 {
		return 0, false
	}
	v, err := strconv.ParseUint(string(f[1]), 10, 64)
	return v, err == nil
}
