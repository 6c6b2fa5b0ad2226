package backendtest

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// terminal has commands on a terminal.
func (s *suite) terminal(t *testing.T) {
	if !s.caps.TTY {
		t.Skip("the backend has no terminals")
	}
	b := s.launch(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *bottle)
	}{
		{"is a terminal", ttyIs}, {"is the user's", ttyOwner}, {"descriptors", ttyDescriptors}, {"size", ttySize}, {"typing", ttyTyping},
		{"no input", ttyNoInput}, {"end of input", ttyInputEnds}, {"interrupt", ttyInterrupt}, {"job control", ttyJobs},
		{"status", ttyStatus}, {"start errors", ttyStartErrors}, {"output", ttyOutput}, {"input", ttyInput},
		{"background child", ttyBackground}, {"signals pass", ttySignals}, {"cancelled", ttyCancelled},
		{"hangs up", ttyHangsUp}, {"slow reader", ttySlowReader}, {"flood", ttyFlood}, {"stuck input", ttyStuckInput},
		{"many", ttyMany},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, b) })
	}
}

// on runs a script on a terminal where nobody types.
func (b *bottle) on(t *testing.T, script string, args ...string) result {
	t.Helper()
	r := b.run(t, onTerminal(script0(script, args...)), "")
	if r.stderr != "" {
		t.Errorf("standard error got %q: a terminal has one stream", r.stderr)
	}
	return r
}

func ttyIs(t *testing.T, b *bottle) {
	r := b.on(t, `for fd in 0 1 2; do test -t $fd && echo yes; done; echo $TERM; echo error >&2; tty; : </dev/tty && echo open`)
	r.code(t, 0)
	for _, want := range []string{"yes\r\nyes\r\nyes\r\nvt100\r\nerror\r\n/dev/pts/", "\r\nopen\r\n"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the screen shows %q, want %q", r.stdout, want)
		}
	}
	// The control: without a terminal there is none.
	if plain := b.run(t, script0(`test -t 0 || test -t 1 || test -t 2 || (: </dev/tty) 2>/dev/null || echo none`), ""); !strings.Contains(plain.stdout, "none") {
		t.Errorf("a command without a terminal has one: %q, %q", plain.stdout, plain.stderr)
	}
}

// ttyOwner opens the terminal again by its name, as ssh and screen do.
func ttyOwner(t *testing.T, b *bottle) {
	commands := []backend.Command{script0(`echo opened >"$(tty)"; [ "$(stat -c %u "$(tty)")" = "$(id -u)" ] && echo own`)}
	if b.s.caps.MultiUser {
		commands = append(commands, asRoot(commands[0]))
	}
	for _, cmd := range commands {
		if r := b.run(t, onTerminal(cmd), ""); r.stdout != "opened\r\nown\r\n" {
			t.Errorf("as %q: %q, %+v", cmd.User, r.stdout, r.ExitStatus)
		}
	}
}

// ttyDescriptors lists what a command on a terminal inherits: the slave of a
// terminal of its own three times, never a master or anything of the engine's.
func ttyDescriptors(t *testing.T, b *bottle) {
	r := b.on(t, `sleep 20 & sleep 0.3; for f in /proc/$!/fd/*; do echo "${f##*/}=$(readlink $f)"; done; echo "own=$(tty)"; kill $!`)
	_, own, _ := strings.Cut(r.stdout, "own=")
	own = strings.TrimSpace(own)
	for line := range strings.Lines(r.stdout) {
		fd, target, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || fd == "own" {
			continue
		}
		// A shell may give a child in the background an empty input.
		if len(fd) != 1 || fd > "2" || target != own && (fd != "0" || target != "/dev/null") {
			t.Errorf("a command on the terminal %s inherits %s: %s", own, fd, target)
		}
	}
	if !strings.Contains(r.stdout, "1="+own) || !strings.HasPrefix(own, "/dev/pts/") {
		t.Errorf("nothing was listed: %q", r.stdout)
	}
}

func ttySize(t *testing.T, b *bottle) {
	s := b.sit(t, script0(`trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done`))
	s.sees("24 80\r\n")
	for _, size := range []struct {
		to   backend.WindowSize
		text string
	}{
		{backend.WindowSize{Rows: 50, Cols: 132}, "50 132\r\n"},
		{backend.WindowSize{Rows: 2, Cols: 1000}, "2 1000\r\n"},
		{backend.WindowSize{Rows: 30, Cols: 100}, "30 100\r\n"},
	} {
		s.sizes <- size.to
		s.sees(size.text)
	}
	s.types("\x03")
	s.ends(5 * time.Second)
}

func ttyTyping(t *testing.T, b *bottle) {
	s := b.sit(t, script0(`printf 'name? '; read name; echo "hello $name"; stty -echo; printf 'secret? '; read secret; echo; echo "${#secret} bytes"; exit 9`))
	s.sees("name? ")
	s.types("Bödo\x7f\x7fe\n")
	s.sees("hello Böe\r\n")
	s.sees("secret? ")
	s.types("hidden\n")
	r := s.ends(5 * time.Second)
	r.code(t, 9)
	if !strings.Contains(r.stdout, "6 bytes\r\n") || strings.Contains(r.stdout, "hidden") {
		t.Errorf("the screen shows %q", r.stdout)
	}
}

func ttyNoInput(t *testing.T, b *bottle) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r := b.try(ctx, onTerminal(script0(`echo waits; read line; echo "got $line"`)), "")
	if !errors.Is(r.err, context.DeadlineExceeded) || r.stdout != "waits\r\n" {
		t.Errorf("%q, %v; nobody typed anything", r.stdout, r.err)
	}
}

func ttyInputEnds(t *testing.T, b *bottle) {
	for typed, want := range map[string]string{
		"line\n":     "line\r\nend\r\n",
		"half":       "halfend\r\n",
		"a\nb\n\x04": "a\r\nb\r\nend\r\n", // ctrl-D, typed
	} {
		r := b.run(t, onTerminal(script0(`stty -echo; cat; echo end`)), typed)
		if r.Code != 0 || !strings.HasSuffix(r.stdout, want) {
			t.Errorf("%q typed gives %q, %+v; want %q", typed, r.stdout, r.ExitStatus, want)
		}
	}
}

func ttyInterrupt(t *testing.T, b *bottle) {
	for key, want := range map[string]int{"\x03": 2, "\x1c": 3} {
		s := b.sit(t, backend.Command{Argv: []string{"cat"}})
		s.types("ready\n")
		s.sees("ready\r\nready\r\n")
		s.types(key)
		if r := s.ends(5 * time.Second); r.err != nil || r.Signal != want {
			t.Errorf("key %q gives %+v, %v; want signal %d", key, r.ExitStatus, r.err, want)
		}
	}
	s := b.sit(t, script0(`trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.05; done`))
	s.sees("ready")
	s.types("\x03")
	r := s.ends(5 * time.Second)
	r.code(t, 4)
	if !strings.Contains(r.stdout, "caught") {
		t.Errorf("the screen shows %q", r.stdout)
	}
}

// ttyJobs has an interactive shell stop and continue a job.
func ttyJobs(t *testing.T, b *bottle) {
	s := b.sit(t, backend.Command{Argv: []string{"/bin/sh", "-i"}, Env: []string{"PS1=$ "}})
	s.sees("$ ")
	s.types("echo st''arted; cat\n")
	s.sees("started\r\n")
	s.types("round\n")
	s.sees("round\r\nround\r\n")
	s.types("\x1a") // ctrl-Z
	await(t, 5*time.Second, "the shell tells that it stopped", func() bool { return s.out.has("Stopped") || s.out.has("Suspended") })
	s.types("echo st''opped; fg\n")
	s.sees("stopped\r\n")
	s.types("again\n")
	s.sees("again\r\nagain\r\n")
	s.types("\x04")
	s.types("exit 5\n")
	r := s.ends(5 * time.Second)
	r.code(t, 5)
	if strings.Contains(r.stdout, "job control turned off") || strings.Contains(r.stdout, "no job control") {
		t.Errorf("the shell has no job control: %q", r.stdout)
	}
}

func ttyStatus(t *testing.T, b *bottle) {
	for _, code := range []int{0, 1, 42, 126, 127, 255} {
		b.on(t, "exit $1", strconv.Itoa(code)).code(t, code)
	}
	for name, number := range map[string]int{"KILL": 9, "SEGV": 11, "TERM": 15} {
		if r := b.on(t, "kill -"+name+" $$; sleep 5"); r.Signal != number || r.Code != 128+number {
			t.Errorf("%s gives %+v, want signal %d", name, r.ExitStatus, number)
		}
	}
}

func ttyStartErrors(t *testing.T, b *bottle) {
	for name, want := range map[string]int{"/no/such/program": 127, "/tmp": 126} {
		r := b.run(t, onTerminal(backend.Command{Argv: []string{name}}), "")
		if r.Code != want || r.StartError == "" || r.stdout != "" {
			t.Errorf("%s: %+v, %q; want code %d and a reason", name, r.ExitStatus, r.stdout, want)
		}
	}
	bad := onTerminal(script0("echo ran"))
	bad.User = "no-such-user"
	if r := b.try(t.Context(), bad, ""); r.stdout != "" || r.err == nil && r.StartError == "" {
		t.Errorf("an unknown user: %q, %+v", r.stdout, r.ExitStatus)
	}
}

// ttyOutput has a mebibyte of noise come through a terminal that changes nothing.
func ttyOutput(t *testing.T, b *bottle) {
	sent := noise(1 << 20)
	b.run(t, script0("cat > /tmp/noise"), sent)
	r := b.on(t, "stty -opost; cat /tmp/noise")
	if r.stdout != sent {
		t.Errorf("%d bytes come of %d, or others", len(r.stdout), len(sent))
	}
}

// ttyInput types a mebibyte at a program that takes it raw.
func ttyInput(t *testing.T, b *bottle) {
	sent := noise(1 << 20)
	s := b.sit(t, script0(`stty raw -echo; echo ready; head -c 1048576 > /tmp/typed; echo got`))
	s.sees("ready")
	s.types(sent)
	s.sees("got")
	s.ends(5*time.Second).code(t, 0)
	if r := b.run(t, script0("cat /tmp/typed; rm /tmp/typed"), ""); r.stdout != sent {
		t.Errorf("%d bytes arrive of %d, or others", len(r.stdout), len(sent))
	}
}

// ttyBackground leaves children that hold the terminal.
func ttyBackground(t *testing.T, b *bottle) {
	for name, script := range map[string]string{
		"in the session":  `sleep 31.4159 & echo done; exit 6`,
		"ignores hang-up": `(trap '' HUP; sleep 31.4159) & echo done; exit 6`,
		"own session":     `setsid sleep 31.4159 & sleep 0.1; echo done; exit 6`,
	} {
		r := b.on(t, script)
		if r.stdout != "done\r\n" || r.Code != 6 || r.took > 2*slack {
			t.Errorf("%s: %q, %+v after %s", name, r.stdout, r.ExitStatus, r.took)
		}
	}
}

func ttySignals(t *testing.T, b *bottle) {
	s := b.sit(t, script0(`trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.05; done`))
	s.sees("ready")
	s.signal <- 10
	s.sees("usr1")
	s.signal <- 15
	r := s.ends(5 * time.Second)
	r.code(t, 7)
	if !strings.Contains(r.stdout, "term") {
		t.Errorf("the screen shows %q", r.stdout)
	}
}

// ttyCancelled ends whole trees on terminals.
func ttyCancelled(t *testing.T, b *bottle) {
	for name, script := range map[string]string{
		"plain":       `sleep $1 & sleep $2`,
		"ignoring":    `trap '' INT TERM HUP QUIT TSTP; sleep $1 & setsid sleep $2 & while :; do sleep 0.1; done`,
		"job control": `set -m; sleep $1 & sleep $2 & wait`,
	} {
		t.Run(name, func(t *testing.T) {
			marks := sleepMarks(2)
			b.cancelled(t, onTerminal(script0(script, marks...)), marks)
		})
	}
}

// broken is a writer behind which nobody is.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// ttyHangsUp has a command notice that nobody watches.
func ttyHangsUp(t *testing.T, b *bottle) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	marks := sleepMarks(1)
	cmd := onTerminal(script0(`sleep $1 & trap 'exit 8' HUP; while :; do echo more || exit 8; sleep 0.02; done`, marks...))
	st, err := b.s.Backend.Exec(ctx, b.id, cmd, backend.Streams{Stdout: broken{}})
	if errors.Is(err, context.DeadlineExceeded) || err == nil && st.Code != 8 && st.Signal != 1 {
		t.Errorf("%+v, %v; the terminal should have been hung up", st, err)
	}
	await(t, slack, "the command is hung up", func() bool { return !strings.Contains(b.processes(t), marks[0]) })
}

// slow is a writer that takes its time for the first bytes.
type slow struct {
	waiter
	waited bool
}

func (s *slow) Write(p []byte) (int, error) {
	if !s.waited {
		s.waited = true
		time.Sleep(700 * time.Millisecond)
	}
	return s.waiter.Write(p)
}

func ttySlowReader(t *testing.T, b *bottle) {
	sent := noise(100_000)
	b.run(t, script0("cat > /tmp/noise"), sent)
	out := &slow{}
	st, err := b.s.Backend.Exec(t.Context(), b.id, onTerminal(script0("stty -opost; cat /tmp/noise; exit 3")), backend.Streams{Stdout: out})
	if err != nil || st.Code != 3 || out.String() != sent {
		t.Errorf("%+v, %v, %d bytes of %d", st, err, len(out.String()), len(sent))
	}
}

// ttyFlood cancels a command whose output nobody takes.
func ttyFlood(t *testing.T, b *bottle) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	stop := make(chan struct{})
	release := time.AfterFunc(3*time.Second, func() { close(stop) })
	defer release.Stop()
	start := time.Now()
	_, err := b.s.Backend.Exec(ctx, b.id, onTerminal(script0("cat /dev/zero")), backend.Streams{Stdout: stuck{stop}})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	if left := b.processes(t); strings.Contains(left, "/dev/zero") {
		t.Error("the flooding process is left")
	}
}

// ttyStuckInput types more than a command reads.
func ttyStuckInput(t *testing.T, b *bottle) {
	s := b.sit(t, script0("stty raw -echo; echo ready; sleep 0.5; exit 3"))
	s.sees("ready")
	if _, err := io.WriteString(s.typed, noise(4<<20)); err == nil {
		t.Error("4 MiB were typed at a command that reads nothing")
	}
	if r := s.ends(2 * slack); r.err != nil || r.Code != 3 {
		t.Errorf("with input left over: %+v, %v", r.ExitStatus, r.err)
	}
}

// ttyMany uses more terminals than there are at once, and leaves none.
func ttyMany(t *testing.T, b *bottle) {
	for range 4 {
		done := make(chan result, 8)
		for i := range 8 {
			go func() {
				cmd := onTerminal(script0(`stty size; exit "$1"`, strconv.Itoa(i)))
				cmd.TTY.Size.Rows = uint16(100 + i)
				r := b.try(t.Context(), cmd, "")
				if r.err == nil && (r.Code != i || r.stdout != strconv.Itoa(100+i)+" 80\r\n") {
					r.err = errors.New("another's outcome")
				}
				done <- r
			}()
		}
		for range 8 {
			if r := <-done; r.err != nil {
				t.Errorf("%+v, %q: %v", r.ExitStatus, r.stdout, r.err)
			}
		}
	}
	await(t, slack, "no terminal is left", func() bool {
		return b.sh(t, "echo /dev/pts/[0-9]*") == "/dev/pts/[0-9]*\n"
	})
}
