package command

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"unicode"
)

// ErrOverflow means that a program printed more than was allowed for.
var ErrOverflow = errors.New("it prints without end")

// errWriter means that the caller's writer did not take the output.
var errWriter = errors.New("the reader of its output does not take it")

// maxStderr bounds the words of a program in an error.
const maxStderr = 4 << 10

// Error is a run that did not end with status 0. It never holds the values of
// arguments, the environment or standard input.
type Error struct {
	// Name is the program's base name, Args the subcommand and the number of
	// further arguments.
	Name, Args string
	Code       int            // exit code; -1 when it did not end by itself
	Signal     syscall.Signal // that ended it; 0 when none did
	TimedOut   bool           // Spec.Timeout or ctx's deadline
	Missing    bool           // there is no such program
	Overflow   bool           // it printed more than Spec allows
	Stderr     string         // the tail of it, printable; "" when it was streamed
	Err        error          // the cause; nil when the program ended by itself
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Name)
	if e.Args != "" {
		b.WriteString(" " + e.Args)
	}
	switch {
	case e.Missing:
		b.WriteString(" cannot be run: there is no such program")
	case e.TimedOut:
		b.WriteString(" took too long and was ended")
	case errors.Is(e.Err, context.Canceled):
		b.WriteString(" was ended because the work was cancelled")
	case e.Err != nil:
		fmt.Fprintf(&b, " failed: %v", e.Err)
	case e.Signal != 0:
		fmt.Fprintf(&b, " was ended by signal %d (%v)", int(e.Signal), e.Signal)
	default:
		fmt.Fprintf(&b, " failed with status %d", e.Code)
	}
	if last := lastLine(e.Stderr); last != "" {
		b.WriteString(": " + last)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// lastLine is where programs put their reason.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

var subcommand = regexp.MustCompile(`^[a-z][a-z-]{0,20}$`)

// summary says which subcommand ran without showing a value: at most two plain
// words, then a count. Names, URLs and tokens have something else in them or
// stand behind an option.
func summary(args []string) string {
	n := 0
	for n < len(args) && n < 2 && subcommand.MatchString(args[n]) {
		n++
	}
	words := strings.Join(args[:n], " ")
	if more := len(args) - n; more > 0 {
		words = strings.TrimSpace(fmt.Sprintf("%s (and %d arguments)", words, more))
	}
	return words
}

func newError(spec Spec, err error) *Error {
	return &Error{
		Name: Printable(filepath.Base(spec.Name), 100), Args: summary(spec.Args), Code: -1,
		TimedOut: errors.Is(err, context.DeadlineExceeded), Overflow: errors.Is(err, ErrOverflow), Err: err,
	}
}

// Printable makes the last bytes of what a program printed fit for messages and
// logs: valid UTF-8, no control or formatting characters except newline and
// tab, and no more than limit bytes of it, give or take the replacements.
func Printable(s string, limit int) string {
	if cut := len(s) - limit; cut > 0 {
		s = "…" + strings.TrimLeftFunc(s[cut:], func(r rune) bool { return r == unicode.ReplacementChar })
	}
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r':
			return '\n' // progress that overwrites itself
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}
