package vmguest

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// Exit codes of the verbs, besides those of "guest run" and "guest signal".
const (
	exitFailed = 1
	exitUsage  = 2
)

// Main runs the guest's verb that args ("run", …) ask for, if it is one of this
// package's, and returns its exit code. The process must be this verb's alone.
func Main(args []string, stdout, stderr io.Writer) (handled bool, code int) {
	if len(args) == 0 {
		return false, 0
	}
	var err error
	switch args[0] {
	case verbIdle:
		err = idleMain(args[1:])
	case verbRun:
		code, err = runMain(args[1:])
	case verbSignal:
		code, err = signalMain(args[1:])
	case verbHome:
		err = homeMain(args[1:], stdout)
	case verbRoots:
		err = rootsMain(args[1:], stdout)
	default:
		return false, 0
	}
	if err == nil {
		return true, code
	}
	_, _ = fmt.Fprintf(stderr, "bottle-mcp guest %s: %v\n", args[0], err)
	var usage usageError
	if errors.As(err, &usage) {
		return true, exitUsage
	}
	return true, exitFailed
}

// usageError is a verb called wrongly, which only a fault of the host's half or
// a person can do.
type usageError struct{ error }

func badUsage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// flags is a silent set of flags for one verb.
func flags(verb string) *flag.FlagSet {
	f := flag.NewFlagSet(verb, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

// parseFlags parses args that must be flags alone.
func parseFlags(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		return usageError{err}
	}
	if f.NArg() > 0 {
		return badUsage("unexpected argument %.60q", f.Arg(0))
	}
	return nil
}
