package vmguest

import (
	"bytes"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Timings of "guest signal".
const (
	// treeTime is how long a tree may take to be killed.
	treeTime = 900 * time.Millisecond
	// aloneTime is how much of it the wrapper has to do it by itself.
	aloneTime = 300 * time.Millisecond
	// restTime is at least for what is left when the wrapper was killed.
	restTime = 250 * time.Millisecond
	gonePoll = 2 * time.Millisecond
)

func signalMain(args []string) (int, error) {
	f := flags(verbSignal)
	token := f.String("token", "", "")
	number := f.Int("signal", 0, "")
	whole := f.Bool("tree", false, "")
	if err := parseFlags(f, args); err != nil {
		return 0, err
	}
	if !validToken(*token) {
		return 0, badUsage("--token must be 32 hex digits")
	}
	if *number < 1 || *number > maxSignal {
		return 0, badUsage("--signal must be 1 to %d", maxSignal)
	}
	return sendSignal(*token, unix.Signal(*number), *whole), nil
}

func sendSignal(token string, sig unix.Signal, whole bool) int {
	wrappers := findWrappers(token)
	t := tree{roots: map[int]bool{}, marker: marker(token)}
	for _, w := range wrappers {
		t.roots[w.pid] = true
	}
	switch {
	case whole && sig == unix.SIGKILL:
		return t.end(wrappers)
	case len(wrappers) == 0:
		return SignalNone
	case whole:
		for _, w := range wrappers {
			w.send(sig)
		}
	default:
		t.signal(sig)
	}
	return 0
}

// end kills the tree and the wrapper. The wrapper does it best: it has the
// kernel's word for when nothing is left, and tells the status. But the command
// may have stopped or killed it.
func (t tree) end(wrappers []process) int {
	if len(wrappers) == 0 && t.empty() {
		return SignalNone
	}
	for _, w := range wrappers {
		w.send(unix.SIGCONT)
		w.send(killNow)
	}
	ended := func() bool {
		return !slices.ContainsFunc(wrappers, func(w process) bool { return !w.gone() })
	}
	begun := time.Now()
	for !ended() && time.Since(begun) < aloneTime {
		time.Sleep(gonePoll)
	}
	if !ended() {
		t.kill(treeTime-time.Since(begun), ended)
	}
	// A wrapper that is still there is a process of the command's that pretends
	// to be one, or cannot go on.
	for _, w := range wrappers {
		w.send(unix.SIGKILL)
	}
	rest := tree{marker: t.marker}
	if !rest.kill(max(restTime, treeTime-time.Since(begun)), rest.empty) {
		return SignalLeft
	}
	return 0
}

// findWrappers lists the processes that run "guest run" with that token and do
// not descend from another: the command can start such processes too.
func findWrappers(token string) []process {
	all := processes()
	var found []process
	pids := map[int]bool{}
	for pid, p := range all {
		if !p.dead && wraps(pid, token) {
			found = append(found, p)
			pids[pid] = true
		}
	}
	return slices.DeleteFunc(found, func(p process) bool {
		others := tree{roots: pids}
		parent, ok := all[p.parent]
		return ok && others.descends(all, map[int]bool{}, parent)
	})
}

// wraps compares a process's first arguments with those of RunArgv.
func wraps(pid int, token string) bool {
	line, err := os.ReadFile(procPath(pid, "cmdline"))
	if err != nil {
		return false
	}
	_, line, _ = bytes.Cut(line, []byte{0})
	return bytes.HasPrefix(line, []byte("guest\x00"+verbRun+"\x00--token\x00"+token+"\x00"))
}
