package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/terminal"
)

// tui is an agent with a scripted program: it draws, tells its window's size,
// and says which keys it gets.
const tui = `
description: a scripted program with a screen
files:
  - path: .tui/main
    format: text
    content: |
      trap 'printf "size %s\n" "$(stty size)"' WINCH
      trap 'echo caught TERM; exit 5' TERM
      stty -icanon -echo -isig
      printf '\033[?1049h\033[?25l'
      printf 'drawn %s %s %s %s\n' "$TERM" "$COLORTERM" "$LANG" "$(stty size)"
      [ -z "$PIN" ] || printf 'the pin has %s characters\n' "${#PIN}"
      while :; do
        key=$(dd bs=1 count=1 2>/dev/null | od -An -tx1)
        printf 'key%s\n' "$key"
        case $key in
          *71) printf '\033[?25h\033[?1049l'; exit 7;;
          *6b) kill -KILL $$;;
        esac
      done
  - path: .tui/headless
    format: text
    content: |
      printf 'arguments: %s\n' "$*"
      printf 'task: %s\n' "$(cat)"
      test -t 0 || test -t 1 && echo a terminal
      exit 3
interactive:
  argv: [sh, /home/agent/.tui/main]
headless:
  argv: [sh, /home/agent/.tui/headless]
  prompt: stdin
`

// person is who uses the real program, with a home of his own.
type person struct {
	t       *testing.T
	program string
	home    string
	uid     uint32 // 0 = this process's user
	env     []string
}

// people are this user, and where that is root an ordinary one too.
func people(t *testing.T, f func(*testing.T, *person)) {
	dir, err := os.MkdirTemp("", "bm") //nolint:usetesting // others may not enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "bottle-mcp")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Run("this user", func(t *testing.T) { f(t, newPerson(t, filepath.Join(dir, "own"), program, 0)) })
	if os.Getuid() == 0 {
		t.Run("ordinary user", func(t *testing.T) { f(t, newPerson(t, filepath.Join(dir, "other"), program, 61_302)) })
	}
}

func newPerson(t *testing.T, home, program string, uid uint32) *person {
	t.Helper()
	p := &person{t: t, program: program, home: home, uid: uid, env: []string{
		"HOME=" + home, "XDG_STATE_HOME=" + filepath.Join(home, "s"), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"TERM=xterm-256color", "COLORTERM=truecolor", "LANG=C.UTF-8",
	}}
	p.write("contrib/tui/provider.yaml", tui)
	p.write("agents/web.md", "---\nbottle: web\n---\nYou work.\n")
	p.write("bottles/web.md", "---\nagent_provider:\n  template: tui\n---\n")
	p.write("agents/asks.md", "---\nbottle: asks\n---\n")
	p.write("bottles/asks.md", "---\nextends: web\nenv:\n  PIN: ? the pin\n---\n")
	t.Cleanup(func() {
		if out, _ := p.runs("cleanup", "--all", "--yes", "--json"); strings.TrimSpace(out) != "[]" {
			t.Errorf("bottles were left: %s", out)
		}
	})
	return p
}

// write makes a file of the person's manifests.
func (p *person) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.home, ".bot-bottle", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if p.uid != 0 {
		for at := path; ; at = filepath.Dir(at) {
			if err := os.Chown(at, int(p.uid), int(p.uid)); err != nil {
				p.t.Fatal(err)
			}
			if at == p.home {
				break
			}
		}
	}
}

func (p *person) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	p.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, p.program, args...)
	cmd.Env, cmd.Dir, cmd.SysProcAttr = p.env, p.home, &syscall.SysProcAttr{Setsid: true}
	if p.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.uid, Gid: p.uid}
	}
	return cmd
}

// runs runs the program without a terminal and returns its output and code.
func (p *person) runs(args ...string) (string, int) {
	p.t.Helper()
	cmd := p.command(args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// bottles are the ids of those that run.
func (p *person) bottles() []string {
	p.t.Helper()
	list := p.command("list", "--json")
	out, err := list.Output()
	if err != nil {
		p.t.Fatal(err)
	}
	var found []struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(out, &found); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
	ids := []string{}
	for _, b := range found {
		ids = append(ids, b.ID)
	}
	return ids
}

// window is a terminal window with the program in it.
type window struct {
	t      *testing.T
	pair   *terminal.Pair
	before unix.Termios
	cmd    *exec.Cmd
	ended  chan struct{}

	mu    sync.Mutex
	shown bytes.Buffer
}

// opens starts the program in a window of 24 by 80.
func (p *person) opens(args ...string) *window {
	p.t.Helper()
	pair, err := terminal.Open(backend.WindowSize{Rows: 24, Cols: 80})
	if err != nil {
		p.t.Fatal(err)
	}
	w := &window{t: p.t, pair: pair, before: termios(p.t, pair.Slave), cmd: p.command(args...), ended: make(chan struct{})}
	if p.uid != 0 {
		if err := pair.Slave.Chown(int(p.uid), int(p.uid)); err != nil {
			p.t.Fatal(err)
		}
	}
	w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = pair.Slave, pair.Slave, pair.Slave
	w.cmd.SysProcAttr.Setctty = true
	if err := w.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { _, _ = io.Copy(w, pair.Master) }()
	go func() {
		_ = w.cmd.Wait() // its code is looked at later
		close(w.ended)
	}()
	p.t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		<-w.ended
		pair.Close()
	})
	return w
}

func termios(t *testing.T, f *os.File) unix.Termios {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *state
}

// Write takes what the program shows.
func (w *window) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shown.Write(p)
}

func (w *window) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shown.String()
}

func (w *window) sees(text string) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(w.text(), text); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("the window shows %q, want %q", w.text(), text)
		}
	}
}

func (w *window) types(text string) {
	w.t.Helper()
	if _, err := w.pair.Master.WriteString(text); err != nil {
		w.t.Fatal(err)
	}
}

func (w *window) resizes(rows, cols uint16) {
	w.t.Helper()
	raw, err := w.pair.Master.SyscallConn()
	if err != nil {
		w.t.Fatal(err)
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	if err := errors.Join(err, cerr); err != nil {
		w.t.Fatal(err)
	}
}

// closes waits for the program's end, demands its code and that the terminal is
// what it was.
func (w *window) closes(code int) {
	w.t.Helper()
	select {
	case <-w.ended:
	case <-time.After(20 * time.Second):
		w.t.Fatalf("the program does not end; the window shows %q", w.text())
	}
	if got := w.cmd.ProcessState.ExitCode(); got != code {
		w.t.Errorf("exit code %d, want %d; the window shows %q", got, code, w.text())
	}
	if after := termios(w.t, w.pair.Slave); !reflect.DeepEqual(after, w.before) {
		w.t.Errorf("the terminal is %+v, and was %+v", after, w.before)
	}
}

func TestTerminals(t *testing.T) {
	people(t, func(t *testing.T, p *person) {
		for name, f := range map[string]func(*testing.T, *person){
			"an agent's own program": agentInWindow, "a killed agent": killedAgent, "signals": signalledAgent, "stopped": stoppedAgent,
			"a closed window": closedWindow, "ctrl-C during the launch": interruptedLaunch, "a command": commandInWindow,
			"a question": askedInWindow, "no answer": unansweredQuestion, "headless": headlessAgent, "kept": keptBottle,
		} {
			t.Run(name, func(t *testing.T) {
				mine := *p
				mine.t = t
				f(t, &mine)
				if left := mine.bottles(); len(left) > 0 {
					t.Errorf("left: %q", left)
				}
			})
		}
	})
}

func agentInWindow(_ *testing.T, p *person) {
	w := p.opens("run", "web")
	w.sees("drawn xterm-256color truecolor C.UTF-8 24 80\r\n")
	w.resizes(50, 132)
	w.types("x") // the shell looks at its signals between keys
	w.sees("size 50 132\r\n")
	w.types("a\x03\x1a\x04") // nothing of it is for anybody but the agent
	w.sees("key 61\r\nkey 03\r\nkey 1a\r\nkey 04\r\n")
	w.types("q")
	w.closes(7)
	if strings.Contains(w.text()[strings.LastIndex(w.text(), "key 71"):], "\x1b[0m") {
		p.t.Errorf("what was switched back is switched once more: %q", w.text())
	}
}

// killedAgent leaves the other screen and a hidden cursor behind.
func killedAgent(t *testing.T, p *person) {
	w := p.opens("run", "web")
	w.sees("drawn")
	w.types("k")
	w.closes(137)
	if !strings.Contains(w.text(), "\x1b[?25h\x1b[?1049l\x1b[0m") {
		t.Errorf("the screen is not switched back: %q", w.text())
	}
}

func signalledAgent(_ *testing.T, p *person) {
	w := p.opens("run", "web")
	w.sees("drawn")
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	w.sees("caught TERM")
	w.closes(5)
}

// stoppedAgent has a shell in between, which makes the terminal its own.
func stoppedAgent(_ *testing.T, p *person) {
	w := p.opens("run", "web")
	w.sees("drawn")
	for _, do := range []func() error{
		func() error { return w.cmd.Process.Signal(syscall.SIGSTOP) },
		func() error { return unix.IoctlSetTermios(int(w.pair.Slave.Fd()), unix.TCSETS, &w.before) },
		func() error { return w.cmd.Process.Signal(syscall.SIGCONT) },
	} {
		if err := do(); err != nil {
			p.t.Fatal(err)
		}
	}
	w.resizes(40, 90)
	for end := time.Now().Add(5 * time.Second); termios(p.t, w.pair.Slave).Lflag&unix.ICANON != 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatal("the terminal is not raw again")
		}
	}
	w.types("\x03x")
	w.sees("size 40 90\r\n")
	w.sees("key 78")
	w.types("q")
	w.closes(7)
}

// closedWindow hangs up: an agent that ignores it is ended all the same.
func closedWindow(t *testing.T, p *person) {
	for name, args := range map[string][]string{
		"agent":    {"run", "web"},
		"stubborn": {"run", "--tty", "--", "sh", "-c", "trap '' HUP TERM; echo drawn; while :; do sleep 0.1; done"},
	} {
		w := p.opens(args...)
		w.sees("drawn")
		_ = w.pair.Slave.Close()
		_ = w.pair.Master.Close()
		select {
		case <-w.ended:
		case <-time.After(15 * time.Second):
			t.Errorf("%s: the program lives on without its terminal", name)
		}
		if left := p.bottles(); len(left) > 0 {
			t.Errorf("%s: left: %q", name, left)
		}
	}
}

func interruptedLaunch(t *testing.T, p *person) {
	for i := range 3000 { // something to copy for a while
		if err := os.MkdirAll(filepath.Join(p.home, "work"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.home, "work", fmt.Sprint(i)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w := p.opens("run", "web", "--workspace", "work")
	w.sees("copy-workspace")
	w.types("\x03")
	w.closes(exitInterrupted)
	if strings.Contains(w.text(), "drawn") {
		t.Errorf("the agent was started: %q", w.text())
	}
}

func commandInWindow(t *testing.T, p *person) {
	w := p.opens("run", "-t", "--env", "WHAT=here", "--", "sh", "-c", `stty size; read line; echo "$WHAT $line"; exit 4`)
	w.sees("24 80\r\n")
	w.types("typed\n")
	w.closes(4)
	if !strings.Contains(w.text(), "typed\r\nhere typed\r\n") {
		t.Errorf("the window shows %q", w.text())
	}
	// Without --tty it is as it always was: the streams, and no terminal.
	w = p.opens("run", "--", "sh", "-c", "test -t 0 || test -t 1 || echo none")
	w.sees("none")
	w.closes(0)
	if out, code := p.runs("run", "--tty", "--", "true"); code != exitUsage || !strings.Contains(out, "needs a terminal") {
		t.Errorf("--tty without a terminal: %d, %s", code, out)
	}
}

func askedInWindow(t *testing.T, p *person) {
	w := p.opens("run", "asks")
	w.sees("the pin [PIN, ~/.bot-bottle/bottles/asks.md:4]: ")
	w.types("hidden-12\n")
	w.sees("the pin has 9 characters\r\n")
	w.types("q")
	w.closes(7)
	if strings.Contains(w.text(), "hidden-12") {
		t.Errorf("the answer is shown: %q", w.text())
	}
	for key, code := range map[string]int{"\x03": exitInterrupted, "\n": exitNoBottle, "\x04": exitNoBottle} {
		w = p.opens("run", "asks")
		w.sees("asks.md:4]: ")
		w.types("\x15" + key) // ctrl-U first: the program may not be there yet
		w.closes(code)
	}
}

func unansweredQuestion(t *testing.T, p *person) {
	args := []string{"run", "asks", "--headless", "--prompt", "x"}
	out, code := p.runs(args...)
	for _, want := range []string{"the pin [PIN, ~/.bot-bottle/bottles/asks.md:4]", "no terminal", "hint: set PIN where this is started and name it: PIN=… bottle-mcp run --env PIN"} {
		if code != exitNoBottle || !strings.Contains(out, want) {
			t.Errorf("%d, %s, want %q", code, out, want)
		}
	}
	p.env = append(p.env, "PIN=from-the-environment")
	if out, code = p.runs(args...); code != exitNoBottle {
		t.Errorf("a variable of the same name was taken without being named: %d, %s", code, out)
	}
	out, code = p.runs("run", "--agent", "asks", "--env", "PIN", "--", "printenv", "PIN")
	if code != 0 || out != "from-the-environment\n" {
		t.Errorf("%d, %s", code, out)
	}
	if out, code = p.runs("run", "asks", "--dry-run"); code != 0 || !strings.Contains(out, "\nAsks: the pin [PIN, ") || !strings.Contains(out, "PIN (asked)") {
		t.Errorf("a dry run: %d, %s", code, out)
	}
}

func headlessAgent(t *testing.T, p *person) {
	out, code := p.runs("run", "web", "--headless", "--prompt", "do $(it)", "--", "-v")
	if want := "arguments: -v\ntask: do $(it)\n"; code != 3 || out != want {
		t.Errorf("%d, %q, want %q", code, out, want)
	}
	cmd := p.command("run", "--headless", "--prompt", "-", "web")
	cmd.Stdin = strings.NewReader("from\nstdin\n")
	piped, err := cmd.Output()
	if want := "arguments: \ntask: from\nstdin\n"; cmd.ProcessState.ExitCode() != 3 || string(piped) != want {
		t.Errorf("%v, %q, want %q", err, piped, want)
	}
	w := p.opens("run", "web", "--headless", "--prompt", "x") // in a window, but not on it
	w.sees("task: x")
	w.closes(3)
	if strings.Contains(w.text(), "a terminal") {
		t.Errorf("a headless agent has a terminal: %q", w.text())
	}
}

func keptBottle(t *testing.T, p *person) {
	out, code := p.runs("run", "--keep", "--label", "mine", "--agent", "web", "--", "true")
	ids := p.bottles()
	if code != 0 || len(ids) != 1 || !strings.HasPrefix(ids[0], "mine-") || !strings.Contains(out, "bottle "+ids[0]+" is kept until ") {
		t.Fatalf("%d, %q, %s", code, ids, out)
	}
	if out, code = p.runs("cleanup", ids[0]); code != 0 {
		t.Errorf("%d, %s", code, out)
	}
}
