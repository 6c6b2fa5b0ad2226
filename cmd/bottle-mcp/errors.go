package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Exit codes; doc.go lists them all.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitTimeout     = 124
	exitNoBottle    = 125
	exitInterrupted = 130
)

// hintError is an error with what the user can do about it.
type hintError struct {
	err   error
	hints []string
}

// withHint adds hints to err; the innermost, most specific hints come first.
func withHint(err error, hints ...string) error {
	if err == nil {
		return nil
	}
	return &hintError{err: err, hints: hints}
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usagef makes a usageError; the hint names the help of the verb.
func usagef(verb, format string, args ...any) error {
	help := strings.TrimSpace("bottle-mcp " + verb)
	return withHint(&usageError{fmt.Errorf(format, args...)}, "see '"+help+" --help'")
}

// exitError ends the program with a code and no further text: what there was
// to say has been said.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// codedError is an error that is printed and ends the program with its code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// exitCode is the code that err ends the program with.
func exitCode(err error) int {
	var exit *exitError
	var coded *codedError
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &coded):
		return coded.code
	default:
		return exitFailed
	}
}

// printError prints err as people read it: what failed on the first line, then
// what to do. No error and an exitError print nothing.
func printError(w io.Writer, s style, err error) {
	var exit *exitError
	if err == nil || errors.As(err, &exit) {
		return
	}
	what, hints := describe(err)
	lines := strings.Split(what, "\n")
	_, _ = fmt.Fprintf(w, "%s %s\n", s.red("bottle-mcp:"), oneLine(lines[0], 0))
	for _, line := range lines[1:] {
		_, _ = fmt.Fprintf(w, "  %s\n", oneLine(line, 0))
	}
	for _, hint := range hints {
		_, _ = fmt.Fprintf(w, "  %s %s\n", s.bold("hint:"), oneLine(hint, 0))
	}
}

// describe splits err into what failed and what to do about it.
func describe(err error) (what string, hints []string) {
	what = err.Error()
	for e := err; e != nil; e = errors.Unwrap(e) {
		var h *hintError
		if !errors.As(e, &h) {
			break
		}
		hints = append(append([]string{}, h.hints...), hints...)
		e = h
	}
	var unavailable *backend.UnavailableError
	switch {
	case errors.As(err, &unavailable):
		// The fix becomes the hint, and is not said twice.
		if unavailable.Fix != "" {
			what = strings.Replace(what, "; "+unavailable.Fix, "", 1)
			hints = append([]string{unavailable.Fix}, hints...)
		}
		hints = append(hints, "'bottle-mcp doctor' says what works on this host")
	case errors.Is(err, context.Canceled):
		what = "interrupted"
	case len(hints) > 0:
	case errors.Is(err, context.DeadlineExceeded):
		hints = append(hints, "the host may be overloaded; 'bottle-mcp doctor' checks it, --log-level debug shows the steps")
	case errors.Is(err, backend.ErrNotFound):
		hints = append(hints, "'bottle-mcp list' names the bottles there are")
	case errors.Is(err, syscall.ENOSPC):
		hints = append(hints, "free some space; 'bottle-mcp cleanup --orphans' removes what dead bottles left")
	case errors.Is(err, fs.ErrPermission):
		hints = append(hints, "check who owns the path named above")
	}
	return what, hints
}
