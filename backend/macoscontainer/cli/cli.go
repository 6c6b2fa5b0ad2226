package cli

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/command"
)

// defaultProgram is the program's name.
const defaultProgram = "container"

// Bounds of what the program may print.
const (
	// maxOutput bounds JSON. A thousand containers are about four MiB.
	maxOutput = 16 << 20
	// maxWords is kept of standard error to classify a failure and to show it.
	maxWords = 16 << 10
)

// CLI runs Apple's container program. Use New. Every method has a deadline of
// its own besides ctx and gives an *Error when the program fails.
//
// This interface-free type is small on purpose: one method per subcommand that
// the backend needs, each from a typed request to an argument vector that is
// inside the program's grammar whatever the values are. It is safe for
// concurrent use. Make one per process: it keeps the order that the engine's
// own lock forces anyhow.
type CLI struct {
	cfg   Config
	env   []string
	gates gates
}

// Config says which program to run and how.
type Config struct {
	// Program is the path or name of the program; "" = "container" on PATH.
	Program string
	// Environ is the environment to scrub and pass on; nil = os.Environ().
	Environ []string
	// Scale stretches or shortens every deadline; 0 = 1. For tests.
	Scale float64
	// Record, when set, sees every argument vector before it runs, without the
	// program's name. For tests.
	Record func(argv []string)
}

// New returns a CLI. It starts nothing.
func New(cfg Config) *CLI {
	if cfg.Program == "" {
		cfg.Program = defaultProgram
	}
	if cfg.Environ == nil {
		cfg.Environ = os.Environ()
	}
	if cfg.Scale == 0 {
		cfg.Scale = 1
	}
	return &CLI{cfg: cfg, env: scrub(cfg.Environ), gates: newGates()}
}

// call is one run of the program.
type call struct {
	argv     *vector
	deadline time.Duration // 0 = ctx alone
	gate     gate          // nil = free
	stdin    io.Reader
	stdout   io.Writer // nil = captured
	stderr   io.Writer // sees it besides us; nil = nobody
	signals  <-chan os.Signal
	// grace is the time between SIGTERM and SIGKILL; 0 = the default.
	grace time.Duration
	// terminal is set when the program reads this process's terminal.
	terminal bool
}

// outcome is how it ended.
type outcome struct {
	command.Result
	words string // the tail of standard error
	err   error  // a *command.Error
}

// do runs a call whose every failure is an error and returns what it printed.
func (c *CLI) do(ctx context.Context, call call) ([]byte, error) {
	out, err := c.start(ctx, call)
	if err != nil {
		return nil, err
	}
	if out.err != nil {
		return out.Stdout, call.argv.failure(out)
	}
	return out.Stdout, nil
}

// start runs a call. The error is about what kept the program from running.
func (c *CLI) start(ctx context.Context, call call) (outcome, error) {
	argv, err := call.argv.finish()
	if err != nil {
		return outcome{}, err
	}
	leave, err := call.gate.enter(ctx)
	if err != nil {
		return outcome{}, call.argv.interrupted(err)
	}
	defer leave()
	if c.cfg.Record != nil {
		c.cfg.Record(argv)
	}
	tail := command.NewTail(maxWords)
	stderr := io.Writer(tail)
	if call.stderr != nil {
		stderr = io.MultiWriter(tail, call.stderr)
	}
	res, err := command.Run(ctx, command.Spec{
		Name: c.cfg.Program, Args: argv, Env: c.env,
		Stdin: call.stdin, Stdout: call.stdout, Stderr: stderr, MaxStdout: maxOutput,
		Timeout: c.scaled(call.deadline), Grace: call.grace, Signals: call.signals, Foreground: call.terminal,
	})
	return outcome{Result: res, words: tail.String(), err: err}, nil
}

func (c *CLI) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * c.cfg.Scale)
}
