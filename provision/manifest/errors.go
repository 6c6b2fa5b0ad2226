package manifest

import (
	"fmt"
	"strings"
)

// Error is one problem of a manifest.
type Error struct {
	File string
	Line int // 1-based; 0 when the file as a whole is meant
	// Key is the path of the key, such as "egress.routes[0].host"; "" for the file.
	Key     string
	Problem string
	Hint    string // what to do, "" when Problem says it

	cause error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	b.WriteString(": " + e.Problem)
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// Unwrap gives the cause, such as fs.ErrNotExist, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Errors are all problems of one file, in its order.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives each problem.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, one := range e {
		errs[i] = one
	}
	return errs
}
