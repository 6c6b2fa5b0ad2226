package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

const (
	// replyTime is how long a terminal may take to answer what the command has
	// asked it. An answer that came later would be typed at the shell.
	replyTime = 50 * time.Millisecond
	// hangUpTime is how long a command may live on without its terminal.
	hangUpTime = 2 * time.Second
	// maxTermName bounds what is told about the terminal.
	maxTermName = 64
)

// wantsTerminal reports whether what runs has this terminal.
func (c *cli) wantsTerminal(o runOptions) (bool, error) {
	both := c.con.inTerminal && c.con.outTerminal
	if o.tty && !both && !o.dryRun {
		return false, usagef("run", "--tty needs a terminal as standard input and output")
	}
	return o.tty || o.attach && !o.headless && both, nil
}

// onTerminal hands this terminal to a command for as long as exec runs, and takes
// it back whatever happens. gone is called when the terminal itself goes away.
func (c *cli) onTerminal(what *job, streams *backend.Streams, gone func(), exec func() error) error {
	in, isFile := c.con.in.(*os.File)
	if !isFile {
		return errors.New("standard input is no terminal") // wantsTerminal has looked
	}
	s, err := takeScreen(in)
	if err != nil {
		return err
	}
	defer s.giveBack()
	keys, err := newKeys(in, func() { time.AfterFunc(hangUpTime, gone) })
	if err != nil {
		return err
	}
	defer func() { _ = keys.Close() }() // a pipe to nobody
	what.cmd.TTY = &backend.TTY{Term: plainWord(os.Getenv("TERM")), Size: s.size()}
	what.cmd.Env = append(what.cmd.Env, localEnv(os.Getenv)...)
	modes := &modeWatcher{to: streams.Stdout}
	streams.Stdin, streams.Stdout, streams.Stderr, streams.Resize = keys, modes, nil, s.sizes
	err = exec()
	if undo := modes.undo(); undo != "" {
		_, _ = io.WriteString(c.con.out, undo)
	}
	return err
}

// localEnv is what a program on this terminal should know of it besides its name.
func localEnv(getenv func(string) string) []string {
	var out []string
	for _, name := range []string{"COLORTERM", "LANG"} {
		if value := plainWord(getenv(name)); value != "" {
			out = append(out, name+"="+value)
		}
	}
	return out
}

// plainWord is a value that is a short word, else "".
func plainWord(text string) string {
	if len(text) > maxTermName || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return text
}

// screen is this terminal while a command has it: every key goes through, also
// ctrl-C.
type screen struct {
	fd    int
	saved *unix.Termios
	raw   *unix.Termios
	sizes chan backend.WindowSize
	stop  context.CancelFunc
	ended chan struct{}
}

// takeScreen makes the terminal raw.
func takeScreen(tty *os.File) (*screen, error) {
	s := &screen{fd: int(tty.Fd()), sizes: make(chan backend.WindowSize, 1), ended: make(chan struct{})}
	var err error
	if s.saved, err = unix.IoctlGetTermios(s.fd, getTermios); err != nil {
		return nil, fmt.Errorf("look at the terminal: %w", err)
	}
	if _, err = term.MakeRaw(s.fd); err != nil {
		return nil, fmt.Errorf("hand the terminal over: %w", err)
	}
	if s.raw, err = unix.IoctlGetTermios(s.fd, getTermios); err != nil {
		_ = unix.IoctlSetTermios(s.fd, setTermios, s.saved)
		return nil, fmt.Errorf("hand the terminal over: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	changes := make(chan os.Signal, 4)
	signal.Notify(changes, syscall.SIGWINCH, syscall.SIGCONT)
	go func() {
		defer close(s.ended)
		defer signal.Stop(changes)
		s.watch(ctx, changes)
	}()
	return s, nil
}

// watch tells sizes. A shell that was in between, while this program was
// stopped, has changed the terminal and the window perhaps.
func (s *screen) watch(ctx context.Context, changes <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case what := <-changes:
			if what == syscall.SIGCONT {
				_ = unix.IoctlSetTermios(s.fd, setTermios, s.raw)
			}
		}
		select { // only the latest one counts
		case <-s.sizes:
		default:
		}
		s.sizes <- s.size()
	}
}

func (s *screen) size() backend.WindowSize {
	w, err := unix.IoctlGetWinsize(s.fd, unix.TIOCGWINSZ)
	if err != nil {
		return backend.WindowSize{}
	}
	return backend.WindowSize{Rows: w.Row, Cols: w.Col}
}

// giveBack makes the terminal what it was. What it has answered to questions of
// the command is nobody's input.
func (s *screen) giveBack() {
	s.stop()
	<-s.ended
	time.Sleep(replyTime)
	_ = unix.IoctlSetTermios(s.fd, setTermios, s.saved) // fails when the terminal is gone
	_ = dropTyped(s.fd)
}
