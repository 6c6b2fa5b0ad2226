package backendtest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

func (s *suite) exec(t *testing.T) {
	b := s.launch(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *bottle)
	}{
		{"argv", argv}, {"argv not UTF-8", argvBytes}, {"exit codes", exitCodes}, {"signals tell", endedBySignal}, {"start errors", startErrors},
		{"directory", directory}, {"environment", environment}, {"users", users}, {"stdin", stdin},
		{"stdin unread", stdinUnread}, {"binary output", binaryOutput}, {"streams apart", streamsApart},
		{"discarded output", discarded}, {"concurrent", concurrent}, {"signals pass", signalsPass},
		{"background child", backgroundChild}, {"zombies", zombies}, {"usage", usage}, {"descriptors", descriptors},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, b) })
	}
}

// argv passes arguments that a shell or a log would bend.
func argv(t *testing.T, b *bottle) {
	args := []string{"", " ", "a b", "two\nlines", "tab\t", "'quote'", `"double"`, "$HOME", "`id`", "*", "ümläut", "日本語", "-n", "--", "\\", strings.Repeat("long", 20_000)}
	out := b.sh(t, `for a in "$@"; do printf '<%s>' "$a"; done`, args...)
	if want := "<" + strings.Join(args, "><") + ">"; out != want {
		t.Errorf("arguments arrive as %.300q, want %.300q", out, want)
	}
}

// argvBytes passes what is no text: exactly, or not at all.
func argvBytes(t *testing.T, b *bottle) {
	const arg = "bad\xff\xfe"
	r := b.try(t.Context(), script0(`printf %s "$1"`, arg), "")
	refused := r.err != nil || r.StartError != ""
	if !refused && r.stdout != arg {
		t.Errorf("%q arrives as %q: pass it as it is, or refuse it", arg, r.stdout)
	}
}

func exitCodes(t *testing.T, b *bottle) {
	for _, code := range []int{0, 1, 2, 42, 125, 126, 127, 128, 255} {
		r := b.run(t, script0(fmt.Sprintf("exit %d", code)), "")
		if r.Code != code || r.Signal != 0 || r.StartError != "" {
			t.Errorf("exit %d gives %+v", code, r.ExitStatus)
		}
	}
}

func endedBySignal(t *testing.T, b *bottle) {
	for name, number := range map[string]int{"HUP": 1, "INT": 2, "KILL": 9, "USR1": 10, "SEGV": 11, "TERM": 15} {
		r := b.run(t, script0("kill -"+name+" $$; sleep 5"), "")
		if r.Signal != number || r.Code != 128+number {
			t.Errorf("%s gives %+v, want signal %d", name, r.ExitStatus, number)
		}
	}
}

func startErrors(t *testing.T, b *bottle) {
	b.sh(t, "echo 'no program' > /tmp/plain; echo '#!/no/such/interpreter' > /tmp/script; chmod 644 /tmp/plain; chmod 755 /tmp/script")
	tests := map[string]struct {
		argv []string
		code int
	}{
		"no such path":        {[]string{"/no/such/program"}, 127},
		"no such name":        {[]string{"no-such-program", "x"}, 127},
		"below a file":        {[]string{"/etc/passwd/x"}, 127},
		"not executable":      {[]string{"/tmp/plain"}, 126},
		"directory":           {[]string{"/tmp"}, 126},
		"empty name":          {[]string{""}, 127},
		"missing interpreter": {[]string{"/tmp/script"}, 127},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := b.run(t, backend.Command{Argv: tt.argv}, "")
			if r.Code != tt.code || r.StartError == "" {
				t.Errorf("%+v, want code %d and a reason", r.ExitStatus, tt.code)
			}
		})
	}
	t.Run("no command", func(t *testing.T) {
		if r := b.try(t.Context(), backend.Command{}, ""); r.err == nil && r.StartError == "" {
			t.Errorf("an empty command gives %+v", r.ExitStatus)
		}
	})
}

func directory(t *testing.T, b *bottle) {
	for dir, want := range map[string]string{"": backend.GuestWorkspace, "/": "/", "/tmp": "/tmp", backend.AgentHome: backend.AgentHome} {
		cmd := script0("pwd")
		cmd.Dir = dir
		if r := b.run(t, cmd, ""); r.stdout != want+"\n" {
			t.Errorf("in %q the command is in %q, %+v", dir, r.stdout, r.ExitStatus)
		}
	}
	for _, dir := range []string{"/no/such/directory", "/etc/passwd"} {
		cmd := script0("echo ran")
		cmd.Dir = dir
		r := b.try(t.Context(), cmd, "")
		if r.stdout != "" || (r.err == nil && (r.StartError == "" || r.Code == 0)) {
			t.Errorf("in %q: %+v, %v, %q; it must not run", dir, r.ExitStatus, r.err, r.stdout)
		}
	}
}

func environment(t *testing.T, b *bottle) {
	cmd := backend.Command{Argv: []string{"env"}, Env: []string{"ADDED=a b=c\nd", "EMPTY=", "HOME=/elsewhere"}}
	got := "\n" + b.run(t, cmd, "").stdout
	for _, want := range []string{"\nMARK=from the launch\n", "\nADDED=a b=c\nd\n", "\nEMPTY=\n", "\nHOME=/elsewhere\n"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("the environment lacks %q: %q", want, got)
		}
	}
	if strings.Count(got, "\nHOME=") != 1 {
		t.Errorf("HOME is there twice: %q", got)
	}
	cmd.Env = []string{"MARK=from the command"}
	if got := b.run(t, cmd, "").stdout; !strings.Contains(got, "MARK=from the command\n") || strings.Contains(got, "from the launch") {
		t.Errorf("MARK is not overridden: %q", got)
	}
	if got := b.sh(t, "echo $MARK"); got != "from the launch\n" {
		t.Errorf("one command's environment is left for the next: %q", got)
	}
}

func users(t *testing.T, b *bottle) {
	ids := func(user string) result {
		cmd := script0("id -u; id -g; id -G")
		cmd.User = user
		return b.try(t.Context(), cmd, "")
	}
	agent := fmt.Sprintf("%[1]d\n%[1]d\n%[1]d\n", backend.AgentUID)
	for _, user := range []string{"", backend.AgentUser} {
		if r := ids(user); r.err != nil || r.stdout != agent {
			t.Errorf("user %q is %q, %v", user, r.stdout, r.err)
		}
	}
	r := ids("root")
	if b.s.caps.MultiUser && (r.err != nil || r.stdout != "0\n0\n0\n") {
		t.Errorf("root is %q, %v", r.stdout, r.err)
	}
	if !b.s.caps.MultiUser && r.err == nil && r.StartError == "" {
		t.Errorf("root is %q although the backend has one user only", r.stdout)
	}
	for _, user := range []string{"no-such-user", "-1", "4294967295", "root:root", "../root"} {
		if r := ids(user); r.err == nil && r.StartError == "" {
			t.Errorf("user %q is %q, want a refusal", user, r.stdout)
		}
	}
}

// noise is content that no text layer survives.
func noise(n int) string {
	src := rand.NewChaCha8([32]byte{byte(n)})
	data := make([]byte, n)
	_, _ = src.Read(data)
	return string(data)
}

func stdin(t *testing.T, b *bottle) {
	for _, size := range []int{1, 4096, 65_537, 8 << 20} {
		sent := noise(size)
		if r := b.run(t, backend.Command{Argv: []string{"cat"}}, sent); sha256.Sum256([]byte(r.stdout)) != sha256.Sum256([]byte(sent)) {
			t.Errorf("%d bytes come back as %d others", size, len(r.stdout))
		}
	}
	if r := b.run(t, backend.Command{Argv: []string{"cat"}}, ""); r.stdout != "" || r.Code != 0 {
		t.Errorf("without stdin cat gives %q, %+v", r.stdout, r.ExitStatus)
	}
}

// endless never ends, like a terminal nobody types on.
type endless struct{ stop <-chan struct{} }

func (e endless) Read([]byte) (int, error) { <-e.stop; return 0, io.EOF }

// stdinUnread has input that nobody reads, and input that never comes.
func stdinUnread(t *testing.T, b *bottle) {
	if r := b.run(t, script0("exit 3"), noise(4<<20)); r.Code != 3 {
		t.Errorf("with input left over: %+v", r.ExitStatus)
	}
	stop := make(chan struct{})
	defer close(stop)
	start := time.Now()
	st, err := b.s.Backend.Exec(t.Context(), b.id, script0("exit 4"), backend.Streams{Stdin: endless{stop}})
	if err != nil || st.Code != 4 || time.Since(start) > slack {
		t.Errorf("with input that never comes: %+v, %v after %s", st, err, time.Since(start))
	}
}

func binaryOutput(t *testing.T, b *bottle) {
	sent := noise(8 << 20)
	b.run(t, script0("cat > /tmp/noise"), sent)
	if r := b.run(t, script0("cat /tmp/noise; cat /tmp/noise >&2; : > /tmp/noise"), ""); r.stdout != sent || r.stderr != sent {
		t.Errorf("8 MiB come as %d and %d bytes, or others", len(r.stdout), len(r.stderr))
	}
}

func streamsApart(t *testing.T, b *bottle) {
	r := b.run(t, script0("echo out; echo err >&2; echo out; echo err >&2"), "")
	if r.stdout != "out\nout\n" || r.stderr != "err\nerr\n" {
		t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
	}
}

func discarded(t *testing.T, b *bottle) {
	st, err := b.s.Backend.Exec(t.Context(), b.id, script0("cat /bin/sh /bin/sh /bin/sh; exit 5"), backend.Streams{})
	if err != nil || st.Code != 5 {
		t.Errorf("without writers: %+v, %v", st, err)
	}
}

func concurrent(t *testing.T, b *bottle) {
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			r := b.try(t.Context(), script0(`echo "$1"; echo "$1" >&2; exit "$1"`, fmt.Sprint(i)), "")
			if want := fmt.Sprintf("%d\n", i); r.err != nil || r.Code != i || r.stdout != want || r.stderr != want {
				t.Errorf("command %d: %+v, %v, %q, %q", i, r.ExitStatus, r.err, r.stdout, r.stderr)
			}
		})
	}
	wg.Wait()
}

// waiter is a writer that tells when something has been written.
type waiter struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *waiter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *waiter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *waiter) has(s string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(w.text.String(), s)
}

func signalsPass(t *testing.T, b *bottle) {
	signals := make(chan int)
	out := &waiter{}
	type end struct {
		backend.ExitStatus
		err error
	}
	done := make(chan end, 1)
	go func() {
		st, err := b.s.Backend.Exec(t.Context(), b.id,
			script0(`trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.05; done`),
			backend.Streams{Stdout: out, Signals: signals})
		done <- end{st, err}
	}()
	await(t, slack, "the command is ready", func() bool { return out.has("ready") })
	signals <- 10
	await(t, slack, "SIGUSR1 arrives", func() bool { return out.has("usr1") })
	signals <- 15
	select {
	case e := <-done:
		if e.err != nil || e.Code != 7 || !out.has("term") {
			t.Errorf("after SIGTERM: %+v, %v", e.ExitStatus, e.err)
		}
	case <-time.After(5 * time.Second):
		t.Error("SIGTERM does not end the command")
	}
}

// backgroundChild leaves a child that holds the output open.
func backgroundChild(t *testing.T, b *bottle) {
	r := b.run(t, script0("sleep 31.4159 & echo done; exit 6"), "")
	if r.stdout != "done\n" || r.Code != 6 || r.took > 2*slack {
		t.Errorf("%q, %+v after %s", r.stdout, r.ExitStatus, r.took)
	}
}

// zombies leaves orphans that have to be reaped by the guest's init.
func zombies(t *testing.T, b *bottle) {
	for range 10 {
		b.sh(t, "(sleep 0.01 & sleep 0.02 &) ; exit 0")
	}
	await(t, slack, "no zombie is left", func() bool {
		out := b.run(t, script0("cat /proc/[0-9]*/stat 2>/dev/null; exit 0"), "").stdout
		return !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
			_, rest, ok := strings.Cut(line, ") ")
			return ok && strings.HasPrefix(rest, "Z ")
		})
	})
}

func usage(t *testing.T, b *bottle) {
	r := b.run(t, script0("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"), "")
	if r.UserTime <= 0 || r.MaxRSSBytes <= 0 || r.UserTime > r.took+slack {
		t.Errorf("usage %+v after %s", r.ExitStatus, r.took)
	}
}

// descriptors lists what a command inherits: its three streams and nothing of
// the engine's.
func descriptors(t *testing.T, b *bottle) {
	// A child is asked, because the shell opens the directory to list it. While
	// it starts, its loader opens files of its own; what was inherited stays.
	out := b.sh(t, `sleep 20 & i=0
while l=$(echo /proc/$!/fd/*) && [ $((i += 1)) -lt 50 ]; do
	case $l in *fd/[3-9]*|*fd/[1-9][0-9]*) sleep 0.1;; *) break;; esac
done; echo $l; kill $!`)
	for _, path := range strings.Fields(out) {
		if fd := path[strings.LastIndexByte(path, '/')+1:]; fd != "0" && fd != "1" && fd != "2" {
			t.Errorf("a command inherits descriptor %s: %q", fd, out)
		}
	}
}
