package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	if !w.shows(text, 20*time.Second) {
		w.t.Fatalf("the window shows %q, want %q", w.text(), text)
	}
}

// seesBetween is sees of what the agent's shell prints on a signal: it looks at
// its signals between keys, and a key may come before the signal.
func (w *window) seesBetween(key, text string) {
	w.t.Helper()
	for range 40 {
		w.types(key)
		if w.shows(text, 500*time.Millisecond) {
			return
		}
	}
	w.t.Fatalf("the window shows %q, want %q", w.text(), text)
}

func (w *window) shows(text string, wait time.Duration) bool {
	for end := time.Now().Add(wait); !strings.Contains(w.text(), text); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
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
