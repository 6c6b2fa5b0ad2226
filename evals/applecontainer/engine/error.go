package engine

import (
	"errors"
	"fmt"
)

// The codes of errors that the program prints.
const (
	InvalidArgument = "invalidArgument"
	InternalError   = "internalError"
	Exists          = "exists"
	NotFound        = "notFound"
	InvalidState    = "invalidState"
	Unsupported     = "unsupported"
	Interrupted     = "interrupted"
)

// Error is a failure in the program's own form. It crosses from the daemon's
// half to the command line as JSON.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Cause   string `json:"cause,omitempty"`
}

func (e *Error) Error() string {
	text := e.Code + `: "` + e.Message + `"`
	if e.Cause != "" {
		text += ` (cause: "` + e.Cause + `")`
	}
	return text
}

// Failf is an error with a code.
func Failf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// because wraps what went wrong below as the program does.
func because(cause error, format string, args ...any) *Error {
	return &Error{Code: InternalError, Message: fmt.Sprintf(format, args...), Cause: cause.Error()}
}

// asError turns any error into the program's form.
func asError(err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	return &Error{Code: "unknown", Message: err.Error()}
}
