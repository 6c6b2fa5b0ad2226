package vmguest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

// Arguments that make this program something else.
const (
	// leaderless: its first thread ends and another lives on.
	leaderless = "leaderless"
	// crowded: LIMIT, PROGRAM, ARGS: at most so many processes of its user.
	crowded = "crowded"
)

func init() { //nolint:gochecknoinits // only here is the main goroutine on the first thread
	if len(os.Args) > 1 && os.Args[1] == leaderless {
		runtime.LockOSThread()
	}
}

// TestMain makes the test program what a guest executes.
func TestMain(m *testing.M) {
	args := os.Args[1:]
	if len(args) > 1 && args[0] == "guest" {
		switch args[1] {
		case "pack", "unpack", "unpack-file":
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			code := archive.GuestMain(ctx, args[1:], os.Stdin, os.Stdout, os.Stderr)
			stop()
			os.Exit(code)
		}
		if handled, code := Main(args[1:], os.Stdout, os.Stderr); handled {
			os.Exit(code)
		}
	}
	if len(args) > 2 && args[0] == crowded {
		n, err := strconv.ParseUint(args[1], 10, 64)
		if err == nil {
			err = unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: n, Max: n})
		}
		if err == nil {
			err = unix.Exec(args[2], args[2:], os.Environ())
		}
		panic(err) // never without the limit
	}
	if len(args) > 0 && args[0] == leaderless {
		go func() {
			time.Sleep(50 * time.Millisecond)
			fmt.Println(os.Getpid())
			time.Sleep(time.Hour)
		}()
		_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
	}
	os.Exit(m.Run())
}

// program0 is this test program, which stands for the guest's.
func program0(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// engine is a stand-in for an engine's exec.
func engine(ctx context.Context, t testing.TB, argv []string) *exec.Cmd {
	t.Helper()
	if argv[0] == backend.GuestBinary {
		argv[0] = program0(t)
	}
	return exec.CommandContext(ctx, argv[0], argv[1:]...)
}

// running is a command below a wrapper.
type running struct {
	t      testing.TB
	token  string
	cmd    *exec.Cmd
	out    output
	err    output
	filter *StderrFilter
	done   chan struct{}
}

// output is a buffer that may be looked at while it grows.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start starts a command; change may alter how the wrapper is started. What is
// left of it ends with t.
func start(t testing.TB, cmd backend.Command, change ...func(*exec.Cmd)) *running {
	t.Helper()
	r := &running{t: t, token: NewToken(), done: make(chan struct{})}
	r.filter = NewStderrFilter(&r.err, r.token)
	r.cmd = engine(t.Context(), t, RunArgv(cmd, backend.DefaultAccount(), r.token))
	r.cmd.Stdout, r.cmd.Stderr = &r.out, r.filter
	r.cmd.WaitDelay = 500 * time.Millisecond // what a background child holds open
	for _, c := range change {
		c(r.cmd)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = r.cmd.Wait()
		close(r.done)
	}()
	t.Cleanup(func() { sendSignal(r.token, unix.SIGKILL, true) })
	return r
}

// wait returns the status of a command that must end soon.
func (r *running) wait() backend.ExitStatus {
	r.t.Helper()
	st, ok := r.ended()
	if !ok {
		r.t.Fatalf("the command told no status: %v, stderr %q", r.cmd.ProcessState, r.err.String())
	}
	return st
}

// ended returns what a command that must end soon told, if it did.
func (r *running) ended() (backend.ExitStatus, bool) {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Fatal("the command does not end")
	}
	if err := r.filter.Close(); err != nil {
		r.t.Fatal(err)
	}
	return r.filter.Result()
}

// killed demands of a command that the verb has killed, begun then, that its
// wrapper told; one that could not in time was killed too.
func (r *running) killed(begun time.Time) {
	r.t.Helper()
	st, ok := r.ended()
	took := time.Since(begun)
	if took > bound {
		r.t.Errorf("it took %s", took)
	}
	if ok && (st.Signal != 9 || st.Code != 137) || !ok && took < treeTime {
		r.t.Errorf("after %s the status is %+v, told: %v", took, st, ok)
	}
}

// run runs a command to its end.
func run(t testing.TB, cmd backend.Command, change ...func(*exec.Cmd)) (backend.ExitStatus, string, string) {
	t.Helper()
	r := start(t, cmd, change...)
	st := r.wait()
	return st, r.out.String(), r.err.String()
}

// signal runs "guest signal" and returns its exit code.
func (r *running) signal(number int, whole bool, change ...func(*exec.Cmd)) int {
	r.t.Helper()
	cmd := engine(r.t.Context(), r.t, SignalArgv(r.token, number, whole))
	cmd.Stderr = os.Stderr
	for _, c := range change {
		c(cmd)
	}
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode()
}

func sh(script string, args ...string) backend.Command {
	return backend.Command{Argv: append([]string{"/bin/sh", "-c", script, "sh"}, args...)}
}

var marks atomic.Int64

// sleepMarks returns times of some hours that nothing else sleeps for.
func sleepMarks(n int) []string {
	var out []string
	for range n {
		out = append(out, fmt.Sprintf("1%07d.%04d", os.Getpid(), marks.Add(1)))
	}
	return out
}

// alive lists the processes whose first argument is one of marks: those of the
// command, not its wrapper.
func alive(marks ...string) []int {
	var out []int
	for pid, p := range processes() {
		line, err := os.ReadFile(procPath(pid, "cmdline"))
		if err != nil || p.dead || bytes.Contains(line, []byte("--token")) {
			continue
		}
		for _, m := range marks {
			if strings.Contains(string(line), "\x00"+m+"\x00") {
				out = append(out, pid)
			}
		}
	}
	return out
}

// await polls until ok.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// awaitMarks waits until every mark's process runs.
func awaitMarks(t testing.TB, marks []string) {
	t.Helper()
	await(t, "the tree has started", func() bool {
		for _, m := range marks {
			if len(alive(m)) == 0 {
				return false
			}
		}
		return true
	})
}

// standIn skips a test that needs root and namespaces, unless they are promised.
func standIn(t *testing.T) {
	t.Helper()
	if os.Getenv("BOTTLE_MCP_STANDIN") != "1" {
		t.Skip("needs root and namespaces: set BOTTLE_MCP_STANDIN=1")
	}
	if os.Getuid() != 0 {
		t.Fatal("BOTTLE_MCP_STANDIN=1, but this is not root")
	}
}

// sharedProgram is a copy of this program that every user can execute.
func sharedProgram(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vmg") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data, err := os.ReadFile(program0(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bottle-mcp")
	for _, err := range []error{os.Chmod(dir, 0o755), os.WriteFile(path, data, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// parentOf is for a process that must be there.
func parentOf(t testing.TB, pid int) int {
	t.Helper()
	p, ok := lookAt(pid)
	if !ok {
		t.Fatalf("process %d is gone", pid)
	}
	return p.parent
}

func atoi(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
