package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Kind classifies a failure of the program.
type Kind string

// The kinds, after the program's own error codes.
const (
	KindUsage       Kind = "usage"     // exit 64: our argument vector is wrong for this version
	KindNotFound    Kind = "not-found" // also an inspect that prints []
	KindExists      Kind = "exists"
	KindState       Kind = "invalid-state"
	KindArgument    Kind = "invalid-argument" // also what no argument vector can say; then the program did not run
	KindUnavailable Kind = "unavailable"      // the daemon does not answer
	KindTimeout     Kind = "timeout"          // our deadline or the daemon's
	KindOutput      Kind = "output"           // what it printed cannot be understood
	KindMissing     Kind = "missing"          // the program is not there
	KindKilled      Kind = "killed"           // a signal ended the program, ours when ctx was cancelled
	KindOther       Kind = "other"
)

// Error is a failure of the program. It names the subcommand and never holds
// environment values or standard input.
type Error struct {
	Command string // the subcommand, such as "network create"
	Object  string // the container, network or image it was about; "" when there is none
	Kind    Kind
	Code    int    // exit code; -1 when it did not end by itself
	Message string // the program's own words, cut and made printable
	Stderr  string // the tail of its standard error, printable: a build's log
	Err     error  // the cause, such as context.DeadlineExceeded; nil when there is none
}

// phrases say in our words what the kinds mean and what to do.
var phrases = map[Kind]struct{ what, hint string }{
	KindUsage:       {"the program refuses the command line", "update Apple's container to 1.1.0 or later"},
	KindNotFound:    {"there is no such object", "see what there is with `container list --all`, `container network list` or `container image list`"},
	KindExists:      {"the name is taken", "remove the other object or choose another name"},
	KindState:       {"its state does not allow that", "look at it with `container inspect`"},
	KindArgument:    {"the request cannot be carried out", "correct the value"},
	KindUnavailable: {"the service of Apple's container does not answer", "start it with `container system start`"},
	KindTimeout:     {"it took too long", "try again, and if it stays so look at `container system logs`"},
	KindOutput:      {"its output is not understood", "compare `container --version` with the supported versions (1.0.0 and later)"},
	KindMissing:     {"there is no such program", "install Apple's container from https://github.com/apple/container/releases or put it on PATH"},
	KindKilled:      {"it was ended before it was done", "try again"},
	KindOther:       {"it failed", "if its words do not help, look at `container system logs`"},
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("container " + e.Command)
	if e.Object != "" {
		fmt.Fprintf(&b, " %.100q", e.Object)
	}
	b.WriteString(": " + phrases[e.Kind].what)
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Err != nil && e.Message == "" {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String() + "; " + e.Hint()
}

// Hint says what to do next, one clause.
func (e *Error) Hint() string { return phrases[e.Kind].hint }

func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the *Error in err's chain; "" when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// kindOfContext is the kind of an end that ctx brought about.
func kindOfContext(err error) Kind {
	if errors.Is(err, context.DeadlineExceeded) {
		return KindTimeout
	}
	return KindKilled
}
