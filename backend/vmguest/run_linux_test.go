package vmguest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

func TestRunExitCodes(t *testing.T) {
	for _, code := range []int{0, 1, 42, 125, 126, 127, 128, 255} {
		st, _, _ := run(t, sh("exit "+strconv.Itoa(code)))
		if st.Code != code || st.Signal != 0 || st.StartError != "" {
			t.Errorf("exit %d gives %+v", code, st)
		}
	}
}

func TestRunSignals(t *testing.T) {
	for name, number := range map[string]int{"HUP": 1, "KILL": 9, "USR1": 10, "SEGV": 11, "PIPE": 13, "TERM": 15} {
		st, _, _ := run(t, sh("kill -"+name+" $$; sleep 5"))
		if st.Signal != number || st.Code != 128+number {
			t.Errorf("%s gives %+v", name, st)
		}
	}
}

func TestRunStartErrors(t *testing.T) {
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed") // root gets in, and finds nothing
	if err := os.Mkdir(closed, 0); err != nil {
		t.Fatal(err)
	}
	plain, script, text := filepath.Join(dir, "plain"), filepath.Join(dir, "script"), filepath.Join(dir, "text")
	for path, mode := range map[string]os.FileMode{plain: 0o644, script: 0o755, text: 0o755} {
		content := map[string]string{plain: "x", script: "#!/no/such/interpreter\n", text: "no program\n"}[path]
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		cmd  backend.Command
		code int
		says string
	}{
		"no such path":   {backend.Command{Argv: []string{"/no/such/program"}}, 127, "does not exist"},
		"no such name":   {backend.Command{Argv: []string{"no-such-program"}}, 127, "not found"},
		"no PATH":        {backend.Command{Argv: []string{"sh"}, Env: []string{"PATH="}}, 127, "not found"},
		"below a file":   {backend.Command{Argv: []string{plain + "/x"}}, 127, "does not exist"},
		"not executable": {backend.Command{Argv: []string{plain}}, 126, "not executable"},
		"not executable, PATH": {
			backend.Command{Argv: []string{"plain"}, Env: []string{"PATH=/no/such:" + dir}}, 126, "not executable",
		},
		"closed directory on PATH": {backend.Command{Argv: []string{"plain"}, Env: []string{"PATH=" + closed}}, 127, "not found"},
		"directory":                {backend.Command{Argv: []string{dir}}, 126, "directory"},
		"empty name":               {backend.Command{Argv: []string{""}}, 127, "empty"},
		"no command":               {backend.Command{}, 127, "empty"},
		"missing interpreter":      {backend.Command{Argv: []string{script}}, 127, "interpreter"},
		"no program":               {backend.Command{Argv: []string{text}}, 126, "#! line"},
		"name too long":            {backend.Command{Argv: []string{"/" + strings.Repeat("x", 300)}}, 127, "does not exist"},
		"zero byte":                {backend.Command{Argv: []string{"/bin/echo", "a\x00b"}}, 126, "zero byte"},
		"zero byte in name":        {backend.Command{Argv: []string{"/bin/\x00"}}, 127, "zero byte"},
		"no directory":             {backend.Command{Argv: []string{"pwd"}, Dir: "/no/such"}, 126, "does not exist"},
		"a file as directory":      {backend.Command{Argv: []string{"pwd"}, Dir: plain}, 126, "not a directory"},
		"relative directory":       {backend.Command{Argv: []string{"pwd"}, Dir: "no/such"}, 126, backend.GuestWorkspace + "/no/such"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			st, out, _ := run(t, tt.cmd)
			if st.Code != tt.code || !strings.Contains(st.StartError, tt.says) || out != "" {
				t.Errorf("%+v, %q, want %d and %q", st, out, tt.code, tt.says)
			}
		})
	}
}

func TestRunDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "here"), []byte("#!/bin/sh\nexec pwd\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"pwd"}, {"./here"}} {
		if st, out, _ := run(t, backend.Command{Argv: argv, Dir: dir}); out != dir+"\n" {
			t.Errorf("%q is in %q, %+v", argv, out, st)
		}
	}
	// Without a directory: the first that can be entered.
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	want := open
	if enterable(backend.GuestWorkspace) == nil {
		want = backend.GuestWorkspace
	}
	if got, err := workingDir("", open); err != nil || got != want {
		t.Errorf("the default is %q, %v, want %q", got, err, want)
	}
	for _, home := range []string{"", "/no/such", filepath.Join(dir, "here")} {
		want := "/"
		if enterable(backend.GuestWorkspace) == nil {
			want = backend.GuestWorkspace
		}
		if got, err := workingDir("", home); err != nil || got != want {
			t.Errorf("with home %q the default is %q, %v", home, got, err)
		}
	}
}

func TestRunEnvironment(t *testing.T) {
	own := func(c *exec.Cmd) { c.Env = []string{"PATH=" + os.Getenv("PATH"), "A=engine", "HOME=/old"} }
	_, out, _ := run(t, backend.Command{Argv: []string{"env"}, Env: []string{"A=first", "B=b c\nd", "A=last", "EMPTY="}}, own)
	want := "PATH=" + os.Getenv("PATH") + "\nA=last\nHOME=/old\nB=b c\nd\nEMPTY=\n"
	if out != want {
		t.Errorf("%q, want %q", out, want)
	}
	none := func(c *exec.Cmd) { c.Env = []string{"PATH=" + os.Getenv("PATH")} }
	if _, out, _ = run(t, sh("echo $HOME"), none); out != backend.AgentHome+"\n" {
		t.Errorf("without HOME it is %q", out)
	}
	cmd := sh("echo $HOME $USER $LOGNAME")
	cmd.User = "root"
	if _, out, _ = run(t, cmd, own); out != "/root root root\n" {
		t.Errorf("root is %q", out)
	}
	// An engine that appends leaves duplicates, of which programs see the first.
	if got := environment([]string{"A=1", "B=2", "A=3"}, []string{"A=4"}); !reflect.DeepEqual(got, []string{"A=4", "B=2"}) {
		t.Errorf("duplicates leave %q", got)
	}
}

func TestRunArguments(t *testing.T) {
	text := []string{"", " ", "two\nlines", "--", "-x", "--token", "ümläut", "$HOME", strings.Repeat("long", 20_000)}
	for name, args := range map[string][]string{"text": text, "bytes": append(text[:8:8], "bad\xff\xfe")} {
		t.Run(name, func(t *testing.T) {
			_, out, _ := run(t, sh(`for a in "$@"; do printf '<%s>' "$a"; done`, args...))
			if want := "<" + strings.Join(args, "><") + ">"; out != want {
				t.Errorf("arguments arrive as %.200q", out)
			}
		})
	}
}

func TestRunStreams(t *testing.T) {
	noise := strings.Repeat("\x00\xff\x1e\n", 1<<18)
	cmd := sh("cat; echo oops >&2; printf '\\036bottle' >&2")
	st, out, errOut := run(t, cmd, func(c *exec.Cmd) { c.Stdin = strings.NewReader(noise) })
	if st.Code != 0 || out != noise || errOut != "oops\n\x1ebottle" {
		t.Errorf("%+v, %d bytes, %q", st, len(out), errOut)
	}
}

// TestRunForged has a command that writes trailers itself: the last is true.
func TestRunForged(t *testing.T) {
	script := `tr '\0' '\n' < /proc/$PPID/cmdline | { read a; read a; read a; read a; read token
printf '\036bottle-mcp-status %s {"code":0,"signal":0,"start_error":"","utime_ns":0,"stime_ns":0,"maxrss":0}\n' "$token" >&2; }; exit 9`
	r := start(t, sh(script))
	if st := r.wait(); st.Code != 9 {
		t.Errorf("the command forges %+v", st)
	}
	if got := r.err.String(); got != "" {
		t.Errorf("the forgery is none, so this test shows nothing: %q", got)
	}
}

// TestRunWalls looks at what a command inherits.
func TestRunWalls(t *testing.T) {
	extra, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	_, out, _ := run(t, sh(`grep -E '^(SigBlk|SigIgn|NoNewPrivs)' /proc/self/status; echo $$ $(cut -d' ' -f5,6 /proc/$$/stat); sleep 0.3 & echo /proc/$!/fd/*`),
		func(c *exec.Cmd) { c.ExtraFiles = []*os.File{extra} })
	lines := strings.Split(out, "\n")
	for i, want := range []string{"SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "NoNewPrivs:\t1"} {
		if lines[i] != want {
			t.Errorf("%q, want %q", lines[i], want)
		}
	}
	if f := strings.Fields(lines[3]); len(f) != 3 || f[0] != f[1] || f[0] != f[2] {
		t.Errorf("pid, group and session are %q", lines[3])
	}
	last := lines[4]
	if !strings.Contains(last, "/fd/1") {
		t.Errorf("no descriptors are seen: %q", out)
	}
	for path := range strings.FieldsSeq(last) {
		if fd := filepath.Base(path); fd != "0" && fd != "1" && fd != "2" && fd != "10" {
			t.Errorf("descriptor %s is inherited: %q", fd, last)
		}
	}
}

// TestRunUntouchable wants the wrapper's memory closed to the command, and the
// wrapper to outlive stray signals.
func TestRunUntouchable(t *testing.T) {
	script := `for s in USR1 USR2 WINCH PIPE ALRM TSTP TTIN CONT; do kill -$s $PPID; done; sleep 0.1
if [ "$(id -u)" != 0 ] && cat /proc/$PPID/environ > /dev/null 2>&1; then echo open; fi; exit 4`
	st, out, errOut := run(t, sh(script))
	if st.Code != 4 || out != "" {
		t.Errorf("%+v, %q, %q", st, out, errOut)
	}
}

// TestRunBackground has a child that outlives its command and holds the output.
func TestRunBackground(t *testing.T) {
	mark := sleepMarks(1)[0]
	r := start(t, sh("setsid sleep $1 & sleep 0.05; echo done; exit 6", mark), func(c *exec.Cmd) { c.WaitDelay = patience })
	select {
	case <-r.filter.Ended():
	case <-time.After(patience / 2):
		t.Fatal("the command's end is not told while a child holds its output")
	}
	if st, ok := r.filter.Result(); !ok || st.Code != 6 || r.out.String() != "done\n" {
		t.Errorf("%+v, %v, %q", st, ok, r.out.String())
	}
	await(t, "the wrapper has ended", func() bool { return len(findWrappers(r.token)) == 0 })
	left := alive(mark)
	if len(left) != 1 {
		t.Fatalf("background children: %v", left)
	}
	// A process that ends loses its command line before its children.
	await(t, "the child has another parent than the wrapper", func() bool { return parentOf(t, left[0]) != r.cmd.Process.Pid })
	// A command that is over takes no signal; what it left can still be killed.
	if code := r.signal(15, false); code != SignalNone {
		t.Errorf("signal ends with %d", code)
	}
	if code := r.signal(9, true); code != 0 || len(alive(mark)) != 0 {
		t.Errorf("kill ends with %d, left: %v", code, alive(mark))
	}
}

func TestRunUsage(t *testing.T) {
	st, _, _ := run(t, sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"))
	if st.UserTime <= 0 || st.UserTime > patience || st.MaxRSSBytes < 1<<16 {
		t.Errorf("usage %+v", st)
	}
}

// TestRunNoStderr has nobody to tell the status.
func TestRunNoStderr(t *testing.T) {
	cmd := engine(t.Context(), t, RunArgv(sh("exit 5"), backend.DefaultAccount(), NewToken()))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	cmd.Stderr = w
	if err := cmd.Run(); err == nil {
		t.Errorf("the loss is not told: %v", cmd.ProcessState)
	}
}

// TestRunBusyStderr has a reader that comes late, and a command that made the
// stream non-blocking.
func TestRunBusyStderr(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	token := NewToken()
	cmd := engine(t.Context(), t, RunArgv(sh("exit 5"), backend.DefaultAccount(), token))
	cmd.Stderr = w
	if _, err := w.Write(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(int(w.Fd()), true); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	time.Sleep(300 * time.Millisecond)
	f := NewStderrFilter(&discard{}, token)
	buf := make([]byte, 512)
	for err == nil {
		var n int
		n, err = r.Read(buf)
		_, _ = f.Write(buf[:n])
	}
	_ = cmd.Wait()
	if st, ok := f.Result(); !ok || st.Code != 5 {
		t.Errorf("%+v, %v, %v", st, ok, cmd.ProcessState)
	}
}

func TestRunRefuses(t *testing.T) {
	for name, args := range map[string][]string{
		"no token":       {"guest", "run", "--", "true"},
		"bad token":      {"guest", "run", "--token", "xyz", "--", "true"},
		"unknown flag":   {"guest", "run", "--token", testToken, "--no-such", "--", "true"},
		"no hex":         {"guest", "run", "--token", testToken, "--hex", "--", "true"},
		"signal":         {"guest", "signal", "--token", testToken, "--signal", "0"},
		"signal token":   {"guest", "signal", "--token", "*", "--signal", "9"},
		"signal args":    {"guest", "signal", "--token", testToken, "--signal", "9", "x"},
		"idle":           {"guest", "idle"},
		"idle relay":     {"guest", "idle", "--seconds", "1", "--relay", "99999=/x"},
		"idle relay dir": {"guest", "idle", "--seconds", "1", "--relay", "80=x"},
		"home":           {"guest", "home", "--phase", "none"},
		"home of root":   {"guest", "home", "--phase", "make", "--home", "/home/x", "--uid", "0", "--gid", "0"},
		"group of root":  {"guest", "home", "--phase", "make", "--home", "/home/x", "--uid", "5", "--gid", "0"},
		"home at root":   {"guest", "home", "--phase", "close", "--home", "/home", "--uid", "5", "--gid", "5"},
		"home elsewhere": {"guest", "home", "--phase", "close", "--home", "/etc/x", "--uid", "5", "--gid", "5"},
		"home for what":  {"guest", "home", "--phase", "open", "--workspace", ".."},
		"roots":          {"guest", "roots", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program0(t), args...)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != exitUsage || len(out) == 0 {
				t.Errorf("exit code %d, %q", code, out)
			}
		})
	}
}

// TestRunCopies has the verbs that copy below the wrapper.
func TestRunCopies(t *testing.T) {
	run := func(ctx context.Context, cmd backend.Command, streams backend.Streams) (backend.ExitStatus, error) {
		if cmd.Argv[0] == backend.GuestBinary {
			cmd.Argv[0] = program0(t)
		}
		token := NewToken()
		c := engine(ctx, t, RunArgv(cmd, backend.DefaultAccount(), token))
		filter := NewStderrFilter(streams.Stderr, token)
		c.Stdin, c.Stdout, c.Stderr = streams.Stdin, streams.Stdout, filter
		var exit *exec.ExitError
		if err := c.Run(); err != nil && !errors.As(err, &exit) {
			return backend.ExitStatus{}, err
		}
		if err := filter.Close(); err != nil {
			return backend.ExitStatus{}, err
		}
		st, ok := filter.Result()
		if !ok {
			return st, errors.New("no status")
		}
		return st, nil
	}
	from, to := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	var tar output
	out, err := archive.CopyVia(t.Context(), run, backend.CopySpec{Direction: backend.CopyOut, Path: from, Writer: &tar})
	if err != nil || out.Files != 1 || len(out.Skipped) != 0 {
		t.Fatalf("copy out: %+v, %v", out, err)
	}
	in, err := archive.CopyVia(t.Context(), run, backend.CopySpec{Direction: backend.CopyIn, Path: to, Reader: strings.NewReader(tar.String())})
	if err != nil || in.Files != 1 {
		t.Fatalf("copy in: %+v, %v", in, err)
	}
	if got, err := os.ReadFile(filepath.Join(to, "file")); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	_, err = archive.CopyVia(t.Context(), run, backend.CopySpec{Direction: backend.CopyOut, Path: "/no/such/file", Writer: &tar})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing source: %v", err)
	}
}

func TestCommandProcesses(t *testing.T) {
	for limit, want := range map[uint64]uint64{0: 0, 1: 1, 4: 3, 64: 48, 256: 192, 2048: 1984} {
		if got := commandProcesses(limit); got != want {
			t.Errorf("of %d the command has %d, want %d", limit, got, want)
		}
	}
}
