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
	emptyLooks   = 3
	firstPause   = time.Millisecond
	longestPause = 20 * time.Millisecond
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

// members lists what is alive of the tree. sight sees each as soon as it is
// found: what forks and ends all the time would be gone after the look.
func (t tree) members(sight func(process)) []process {
	self := os.Getpid()
	all := map[int]process{}
	var out, unmarked []process
	found := func(p process) {
		sight(p)
		out = append(out, p)
	}
	for _, pid := range pids() {
		p, ok := lookAt(pid)
		if !ok {
			continue
		}
		all[pid] = p
		switch {
		case p.dead || pid == self || t.roots[pid]:
		case t.marked(pid):
			found(p)
		default:
			unmarked = append(unmarked, p)
		}
	}
	below := map[int]bool{}
	for _, p := range unmarked {
		if t.descends(all, below, p) {
			found(p)
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
	for _, p := range t.members(func(process) {}) {
		p.send(sig)
	}
}

// empty reports that nothing of the tree is found, several times: what forks and
// ends between a list and a look is missed. Only a wrapper can tell for sure,
// see reap.
func (t tree) empty() bool {
	for range emptyLooks {
		if len(t.members(func(process) {})) > 0 {
			return false
		}
	}
	return true
}

// kill stops everything, so that nothing forks away, and kills it, until gone
// says that nothing is left or the time is over.
func (t tree) kill(within time.Duration, gone func() bool) bool {
	end := time.Now().Add(within)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		for _, p := range t.freeze() {
			p.send(unix.SIGKILL)
		}
		if gone() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		time.Sleep(pause)
	}
}

// freeze stops the tree and returns what it then consists of. A signal to a
// group reaches all of it at one moment, which a fork cannot straddle; only who
// makes new groups all the time has to be chased.
func (t tree) freeze() []process {
	type life struct {
		pid     int
		started uint64
	}
	stopped, groups := map[life]bool{}, map[int]bool{}
	for round := 0; ; round++ {
		fresh := false
		members := t.members(func(p process) {
			l := life{p.pid, p.started}
			if stopped[l] {
				return
			}
			fresh, stopped[l] = true, true
			p.send(unix.SIGSTOP)
			if !groups[p.group] && t.owns(p.group) {
				_ = unix.Kill(-p.group, unix.SIGSTOP)
			}
			groups[p.group] = true
		})
		if !fresh || round == freezeRounds {
			return members
		}
	}
}

// owns reports whether a process group is the tree's alone: its leader is a
// member, and nobody joins a group from another session. A wrapper, and its
// child for a moment, are in the group of whoever executed it.
func (t tree) owns(group int) bool {
	return group > 1 && !t.roots[group] && group != unix.Getpgrp() && t.marked(group)
}
