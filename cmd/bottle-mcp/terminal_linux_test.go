package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
	w.seesBetween("x", "size 50 132\r\n")
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
	w.types("\x03")
	w.seesBetween("x", "size 40 90\r\n")
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
