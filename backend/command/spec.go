package command

import (
	"io"
	"os"
	"syscall"
	"time"
)

// Defaults of Spec.
const (
	// DefaultMaxStdout bounds captured standard output.
	DefaultMaxStdout = 1 << 20
	// DefaultGrace lets a program that was asked to end put its things away.
	DefaultGrace = 2 * time.Second
	// DefaultWaitDelay is for output that is still under way when the program
	// has ended; a descendant with an inherited pipe would never finish it.
	DefaultWaitDelay = 5 * time.Second
)

// Spec is one run of a program.
type Spec struct {
	// Name is a path, or a name that is looked up in the PATH of Env, else of
	// this process.
	Name string
	Args []string
	// Env is the whole environment; nil is an empty one, never this process's.
	Env []string
	Dir string // "" = this process's
	// Stdin is copied into a pipe; nil is /dev/null. A Read that blocks beyond
	// the end of the program keeps one goroutine until it returns.
	Stdin io.Reader
	// Stdout and Stderr receive the output as it comes; nil captures it into
	// the Result. An *os.File is handed to the program itself. Each is written
	// from a goroutine of its own.
	Stdout, Stderr io.Writer
	// MaxStdout bounds captured standard output; 0 = DefaultMaxStdout. A
	// program that prints more is killed.
	MaxStdout int
	// Timeout bounds the run besides ctx; 0 = ctx alone.
	Timeout time.Duration
	// Grace is the time between SIGTERM and SIGKILL; 0 = DefaultGrace.
	Grace time.Duration
	// WaitDelay is how long to wait for the rest of the output after the
	// program has ended; 0 = DefaultWaitDelay.
	WaitDelay time.Duration
	// Signals are passed on to the program.
	Signals <-chan os.Signal
	// Foreground leaves the program in this process's group and hands it an
	// *os.File as Stdin itself: for one that reads our terminal. Without it a
	// ctrl-C in the terminal reaches this process alone, which then decides.
	Foreground bool
}

// Result is how a program ended. It is filled as far as known also beside an
// error.
type Result struct {
	// Code is the exit code; -1 when the program did not end by itself.
	Code int
	// Signal ended the program; 0 when none did.
	Signal syscall.Signal
	// Stdout and Stderr are what was captured. Of a long Stderr the middle is
	// left out.
	Stdout, Stderr []byte
	Elapsed        time.Duration
	// Held is true when a descendant kept the output open beyond WaitDelay.
	Held bool
}

func (s *Spec) defaults() {
	if s.Env == nil {
		s.Env = []string{} // os/exec takes nil for "all of mine"
	}
	if s.MaxStdout == 0 {
		s.MaxStdout = DefaultMaxStdout
	}
	if s.Grace == 0 {
		s.Grace = DefaultGrace
	}
	if s.WaitDelay == 0 {
		s.WaitDelay = DefaultWaitDelay
	}
}
