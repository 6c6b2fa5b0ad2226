package vmguest

import (
	"crypto/sha256"
	"encoding/binary"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tree is the processes of one command: what descends from its wrapper, which
// is their subreaper, and what bears its marker.
type tree struct {
	// roots are the wrapper's pids; they are not members.
	roots  map[int]bool
	marker uint64
}

// Timings of a tree's end.
const (
	// freezeRounds bounds the chase after what forks while it is being stopped;
	// what gets away is stopped the next time.
	freezeRounds = 8
	killPauseMin = time.Millisecond
	killPauseMax = 20 * time.Millisecond
)

// marker is the value of the hard limit RLIMIT_RTTIME (microseconds that a
// real-time process may compute, which concerns nothing in a guest) that a
// command's processes inherit. It is too large to limit anything.
func marker(token string) uint64 {
	sum := sha256.Sum256([]byte(token))
	return 1<<61 | binary.BigEndian.Uint64(sum[:])>>4
}

// mark makes this process, and what it starts, bear a marker. Below another
// command it may not be able to, and then parentage has to do.
func mark(value uint64) {
	_ = unix.Setrlimit(unix.RLIMIT_RTTIME, &unix.Rlimit{Cur: value, Max: value})
}

// members lists what is alive of the tree.
func (t tree) members() []process {
	all := processes()
	self := os.Getpid()
	below := map[int]bool{}
	var out []process
	for pid, p := range all {
		if p.dead || pid == self || t.roots[pid] {
			continue
		}
		if t.descends(all, below, p) || t.marked(pid) {
			out = append(out, p)
		}
	}
	return out
}

// descends walks from p to a root, and remembers what it found on the way.
func (t tree) descends(all map[int]process, below map[int]bool, p process) bool {
	var way []int
	found := false
	for at := p.pid; ; {
		if t.roots[at] {
			found = true
			break
		}
		if known, ok := below[at]; ok {
			found = known
			break
		}
		now, ok := all[at]
		// The scan is no snapshot: a reused pid could close a circle.
		if !ok || len(way) > len(all) {
			break
		}
		way = append(way, at)
		at = now.parent
	}
	for _, pid := range way {
		below[pid] = found
	}
	return found
}

func (t tree) marked(pid int) bool {
	m, ok := readMarker(pid)
	return ok && m == t.marker
}

// signal sends sig to every member once.
func (t tree) signal(sig unix.Signal) {
	for _, p := range t.members() {
		p.send(sig)
	}
}

// empty reports that nothing of the tree is left. It looks twice: while the
// first look goes on, a process whose parent ends is found below neither.
func (t tree) empty() bool { return len(t.members()) == 0 && len(t.members()) == 0 }

// kill stops everything, so that nothing forks away, and kills it, until
// nothing is left or the time is over. meanwhile is called in between; it reaps
// where that is the caller's duty.
func (t tree) kill(within time.Duration, meanwhile func()) (done bool) {
	end := time.Now().Add(within)
	for pause := killPauseMin; ; pause = min(2*pause, killPauseMax) {
		for _, p := range t.freeze() {
			p.send(unix.SIGKILL)
		}
		meanwhile()
		if t.empty() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		time.Sleep(pause)
	}
}

// freeze stops the tree and returns what it then consists of.
func (t tree) freeze() []process {
	stopped := map[process]bool{}
	for round := 0; ; round++ {
		members := t.members()
		fresh := false
		for _, p := range members {
			if !stopped[p] {
				fresh = true
				stopped[p] = true
				p.send(unix.SIGSTOP)
			}
		}
		if !fresh || round == freezeRounds {
			return members
		}
	}
}
