package vmguest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// bound is how soon a tree must be gone: within a second on a machine that does
// nothing else, which one that runs tests seldom is. What counts here is that it
// goes; the conformance suite measures.
const bound = 8 * time.Second

// trees are commands whose processes scatter; they run with marks.
var trees = map[string]struct {
	script string
	marks  int
}{
	"plain":       {`sleep $1`, 1},
	"children":    {`sleep $1 & sleep $2 & wait`, 2},
	"ignoring":    {`trap '' TERM INT HUP QUIT; sleep $1 & while :; do sleep 0.1; done`, 1},
	"own session": {`setsid sleep $1 & wait`, 1},
	"daemons":     {`(setsid sh -c 'trap "" TERM HUP; sleep '$1' & sleep '$2 &) ; (sleep $3 &) ; sleep $4`, 4},
	"orphans":     {`(setsid sh -c 'setsid sleep '$1' &' &) ; sleep $2`, 2},
	"deep":        {`sh -c "sh -c 'setsid sh -c \"sleep $1 & wait\" & wait' & wait" & sleep $2`, 2},
	"stopped":     {`sleep $1 & kill -STOP $!; sleep $2`, 2},
	// Populations that never stop moving: every process starts the next and
	// ends. They end by themselves, should nobody else do it.
	"hydra": {`hop() { [ $2 -gt 0 ] || exit; sleep $1 & kill -9 $!; hop $1 $(($2-1)) & }
for i in 1 2 3 4 5 6 7 8; do hop $1 9999 & done; sleep $2`, 2},
	"hydra, own sessions": {`export HOP='[ $2 -gt 0 ] || exit; sleep $1 & kill -9 $!; setsid sh -c "$HOP" sh $1 $(($2-1)) &'
for i in 1 2 3 4; do setsid sh -c "$HOP" sh $1 9999 & done; sleep $2`, 2},
}

// TestSignalKillsTree has the verb end what the wrapper cannot be asked to.
func TestSignalKillsTree(t *testing.T) {
	for name, tt := range trees {
		t.Run(name, func(t *testing.T) {
			marks := sleepMarks(tt.marks)
			r := start(t, sh(tt.script, marks...))
			awaitMarks(t, marks)
			begun := time.Now()
			if code := r.signal(9, true); code != 0 {
				t.Errorf("guest signal ends with %d", code)
			}
			r.killed(begun)
			r.nothingLeft(marks)
		})
	}
}

// nothingLeft looks for marks and for the marker.
func (r *running) nothingLeft(marks []string) {
	r.t.Helper()
	if left := alive(marks...); len(left) != 0 {
		r.t.Errorf("processes are left: %v", left)
	}
	if left := (tree{marker: marker(r.token)}).members(func(process) {}); len(left) != 0 {
		r.t.Errorf("marked processes are left: %v", left)
	}
	if code := r.signal(9, true); code != SignalNone {
		r.t.Errorf("once more it ends with %d, want %d", code, SignalNone)
	}
}

// TestRunEndsTree has the wrapper end its tree on SIGTERM, with a grace and
// without.
func TestRunEndsTree(t *testing.T) {
	for name, tt := range trees {
		for _, grace := range []time.Duration{0, 200 * time.Millisecond} {
			t.Run(name+" "+grace.String(), func(t *testing.T) {
				marks := sleepMarks(tt.marks)
				cmd := sh(tt.script, marks...)
				cmd.Grace = grace
				r := start(t, cmd)
				awaitMarks(t, marks)
				begun := time.Now()
				if err := r.cmd.Process.Signal(unix.SIGTERM); err != nil {
					t.Fatal(err)
				}
				st := r.wait()
				if took := time.Since(begun); took > bound+grace {
					t.Errorf("it took %s", took)
				}
				// With a grace a shell may live to see its child end.
				if grace == 0 && st.Signal != 9 {
					t.Errorf("status %+v", st)
				}
				r.nothingLeft(marks)
			})
		}
	}
}

// TestRunGrace lets a command end itself, and its children after it.
func TestRunGrace(t *testing.T) {
	mark := sleepMarks(1)[0]
	ways := map[string]func(*running){
		"by the engine": func(r *running) { _ = r.cmd.Process.Signal(unix.SIGTERM) },
		"by the verb":   func(r *running) { r.signal(15, true) },
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			cmd := sh(`sh -c 'trap "sleep 0.2; echo child; exit" TERM; echo steady; while :; do sleep 0.02; done' & trap 'echo bye; exit 3' TERM
sleep $1 & echo ready; while :; do sleep 0.02; done`, mark)
			cmd.Grace = time.Second
			r := start(t, cmd)
			await(t, "the command is ready", func() bool {
				return strings.Contains(r.out.String(), "ready\n") && strings.Contains(r.out.String(), "steady\n")
			})
			begun := time.Now()
			end(r)
			st := r.wait()
			if out := r.out.String(); st.Code != 3 || !strings.Contains(out, "bye\n") || !strings.Contains(out, "child\n") {
				t.Errorf("%+v, %q", st, out)
			}
			if took := time.Since(begun); took < 200*time.Millisecond || took > bound {
				t.Errorf("it took %s", took)
			}
			r.nothingLeft([]string{mark})
		})
	}
}

func TestSignalPasses(t *testing.T) {
	r := start(t, sh(`trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.02; done`))
	await(t, "the command is ready", func() bool { return strings.Contains(r.out.String(), "ready") })
	if code := r.signal(10, false); code != 0 {
		t.Errorf("SIGUSR1 ends with %d", code)
	}
	await(t, "SIGUSR1 arrives", func() bool { return strings.Contains(r.out.String(), "usr1") })
	if code := r.signal(15, false); code != 0 {
		t.Errorf("SIGTERM ends with %d", code)
	}
	if st := r.wait(); st.Code != 7 || strings.Count(r.out.String(), "usr1") != 1 {
		t.Errorf("%+v, %q", st, r.out.String())
	}
	if code := r.signal(15, false); code != SignalNone {
		t.Errorf("a signal to nobody ends with %d", code)
	}
}

// TestSignalHostile has commands that know the wrapper and want to get away.
func TestSignalHostile(t *testing.T) {
	self := program0(t)
	tests := map[string]struct {
		script string
		told   bool // the wrapper can still tell a status
	}{
		"stops the wrapper":                {`setsid sleep $1 & kill -STOP $PPID; sleep $1`, true},
		"kills the wrapper":                {`(trap '' TERM; setsid sleep $1 &) ; kill -9 $PPID; sleep $1`, false},
		"pretends to be one":               {`w=$PPID; t=$(tr '\0' '\n' < /proc/$w/cmdline | sed -n 5p); "$2" guest run --token $t -- sleep $1 & setsid "$2" guest run --token $t -- sleep $1 & sleep $1`, true},
		"kills and pretends":               {`w=$PPID; t=$(tr '\0' '\n' < /proc/$w/cmdline | sed -n 5p); setsid "$2" guest run --token $t -- sleep $1 & sleep 0.2; kill -9 $w; sleep $1`, false},
		"lowers the marker":                {`setsid sh -c 'ulimit -R 1000000 2>/dev/null || prlimit --rttime=1000000 --pid $$; exec sleep '$1 & sleep $1`, true},
		"wrapper is below a stopped shell": {`sh -c 'sleep '$1' & kill -STOP $$' & sleep $1`, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			mark := sleepMarks(1)[0]
			r := start(t, sh(tt.script, mark, self))
			awaitMarks(t, []string{mark})
			time.Sleep(300 * time.Millisecond)
			begun := time.Now()
			if code := r.signal(9, true); code != 0 {
				t.Errorf("guest signal ends with %d", code)
			}
			if took := time.Since(begun); took > bound {
				t.Errorf("it took %s", took)
			}
			r.nothingLeft([]string{mark})
			if left := findWrappers(r.token); len(left) != 0 {
				t.Errorf("wrappers are left: %v", left)
			}
			if tt.told {
				r.killed(begun)
			}
		})
	}
}

// TestSignalLeaderless has a process whose first thread has ended, which makes
// it look like a zombie.
func TestSignalLeaderless(t *testing.T) {
	r := start(t, backend.Command{Argv: []string{program0(t), leaderless}})
	await(t, "the process is ready", func() bool { return strings.HasSuffix(r.out.String(), "\n") })
	pid := atoi(t, r.out.String())
	stat, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil || !strings.Contains(string(stat), ") Z ") {
		t.Fatalf("it does not look like a zombie, so this test shows nothing: %q, %v", stat, err)
	}
	begun := time.Now()
	if code := r.signal(9, true); code != 0 {
		t.Errorf("guest signal ends with %d", code)
	}
	r.killed(begun)
	if _, err := os.Stat(procPath(pid, "stat")); err == nil {
		t.Error("it is left")
	}
}

// TestSignalStuck has nobody read what the wrapper has to tell: it goes all the
// same, and is told apart from the command by nothing left.
func TestSignalStuck(t *testing.T) {
	rd, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	defer wr.Close()
	mark := sleepMarks(1)[0]
	r := start(t, sh("yes >&2 & sleep $1", mark), func(c *exec.Cmd) { c.Stderr = wr })
	awaitMarks(t, []string{mark})
	time.Sleep(100 * time.Millisecond) // the pipe is full
	begun := time.Now()
	if code := r.signal(9, true); code != 0 || time.Since(begun) > bound {
		t.Errorf("guest signal ends with %d after %s", code, time.Since(begun))
	}
	r.nothingLeft([]string{mark})
	select {
	case <-r.done:
	case <-time.After(bound):
		t.Error("the wrapper is left")
	}
}

// TestSignalOthersLive kills one of two commands.
func TestSignalOthersLive(t *testing.T) {
	marks := sleepMarks(2)
	one, other := start(t, sh("setsid sleep $1 & exec sleep $1", marks[0])), start(t, sh("exec setsid sleep $1", marks[1]))
	awaitMarks(t, marks)
	if code := one.signal(9, true); code != 0 {
		t.Errorf("guest signal ends with %d", code)
	}
	if len(alive(marks[0])) != 0 || len(alive(marks[1])) != 1 {
		t.Errorf("left of the one: %v, of the other: %v", alive(marks[0]), alive(marks[1]))
	}
	if code := other.signal(9, true); code != 0 {
		t.Errorf("guest signal ends with %d", code)
	}
}

// TestWrapperDies takes the command with it.
func TestWrapperDies(t *testing.T) {
	mark := sleepMarks(1)[0]
	r := start(t, backend.Command{Argv: []string{"sleep", mark}})
	awaitMarks(t, []string{mark})
	_ = r.cmd.Process.Kill()
	await(t, "the command has ended", func() bool { return len(alive(mark)) == 0 })
}

// TestForkBomb has a bomb use up all processes that its user may have. Its
// depth bounds it even where no limit does.
func TestForkBomb(t *testing.T) {
	standIn(t)
	const limit = 300
	uid := uint32(61_234)
	path := sharedProgram(t)
	asUser := func(c *exec.Cmd) {
		out, errOut := c.Stdout, c.Stderr
		*c = *exec.CommandContext(t.Context(), path, append([]string{crowded, strconv.Itoa(limit), path}, c.Args[1:]...)...)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		c.Dir, c.WaitDelay, c.Stdout, c.Stderr = "/", 500*time.Millisecond, out, errOut
	}
	population := func(dead bool) (n int) {
		for _, pid := range pids() {
			var st syscall.Stat_t
			if p, ok := lookAt(pid); ok && p.dead == dead && syscall.Stat(procPath(pid, "task"), &st) == nil && st.Uid == uid {
				n++
			}
		}
		return n
	}
	const bomb = `bomb() { [ $1 -gt 0 ] && { bomb $(($1-1)) & bomb $(($1-1)) & }; exec sleep 60; }; bomb 9 2>/dev/null & exec sleep 60`
	_, out, _ := run(t, sh("grep processes /proc/self/limits"), asUser)
	if f := strings.Fields(out); len(f) != 5 || f[2] != strconv.Itoa(limit-SpareProcesses) || f[3] != f[2] {
		t.Fatalf("the command may start %q, want %d less than %d", out, SpareProcesses, limit)
	}
	ways := map[string]func(*running) int{
		"by the verb":    func(r *running) int { return r.signal(9, true, asUser) },
		"by the wrapper": func(r *running) int { _ = r.cmd.Process.Signal(unix.SIGTERM); <-r.done; return 0 },
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			uid++ // what waits to be reaped counts too
			r := start(t, sh(bomb), asUser)
			await(t, "the bomb explodes", func() bool { return population(false)+population(true) > limit*2/3 })
			begun := time.Now()
			code := end(r)
			if took := time.Since(begun); code != 0 || took > bound {
				t.Errorf("ends with %d after %s", code, took)
			}
			if left := population(false); left != 0 {
				t.Errorf("%d processes are left", left)
			}
		})
	}
}

func TestParseStat(t *testing.T) {
	tail := " 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 %T 0 777 0 0"
	line := func(comm, state, threads string) []byte {
		return []byte("5 (" + comm + ") " + state + strings.Replace(tail, "%T", threads, 1))
	}
	for name, tt := range map[string]struct {
		stat     []byte
		ok, dead bool
	}{
		"running":    {line("sh", "R", "1"), true, false},
		"bad name":   {line(") Z 9 (", "S", "1"), true, false},
		"zombie":     {line("sh", "Z", "1"), true, true},
		"reaped":     {line("sh", "Z", "0"), true, true},
		"dead":       {line("sh", "X", "0"), true, true},
		"leaderless": {line("sh", "Z", "4"), true, false},
		"empty":      {nil, false, false},
		"short":      {[]byte("5 (sh) R 1"), false, false},
		"no numbers": {[]byte("5 (sh) " + strings.Repeat("x ", 30)), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, ok := parseStat(5, tt.stat)
			if ok != tt.ok || p.dead != tt.dead || (ok && (p.parent != 1 || p.started != 777)) {
				t.Errorf("%+v, %v", p, ok)
			}
		})
	}
	self, ok := lookAt(os.Getpid())
	if !ok || self.parent != os.Getppid() || self.dead || self.started == 0 {
		t.Errorf("this process is %+v, %v", self, ok)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("5 (sh) R 1 2 3"))
	f.Add([]byte("5 (a) b) R 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, ok := parseStat(1, data); ok && p.pid != 1 {
			t.Fatalf("%+v", p)
		}
		_, _ = parseMarker(data)
		_, _ = findAccount(data, 1000, "agent")
	})
}

// TestMarker wants markers that limit nothing and differ.
func TestMarker(t *testing.T) {
	seen := map[uint64]bool{}
	for range 100 {
		m := marker(NewToken())
		if m < 1<<61 || m >= 1<<62 || seen[m] {
			t.Fatalf("marker %d", m)
		}
		seen[m] = true
	}
	limits, err := os.ReadFile(filepath.Join("/proc/self", "limits"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := parseMarker(limits); ok {
		t.Skip("this process bears a marker itself")
	}
	if got, ok := parseMarker([]byte("Limit Soft Hard\nMax realtime timeout      5       77      us\n")); !ok || got != 77 {
		t.Errorf("%d, %v", got, ok)
	}
}
