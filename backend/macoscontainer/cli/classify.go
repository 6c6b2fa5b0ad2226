package cli

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"syscall"

	"github.com/bottle-mcp/bottle-mcp/backend/command"
)

// What the program says.
const (
	exitFailure = 1
	exitUsage   = 64

	errorPrefix = "Error: "
	usagePrefix = "Usage: "
	xpcTimeout  = "XPC timeout for request"
	startAdvice = "Ensure container system service has been started"
)

// downMarkers are in every message that means that the daemon does not answer.
var downMarkers = []string{"XPC connection error", startAdvice, "Plugins are unavailable"}

// codes are the program's error codes that mean something to a caller.
var codes = map[string]Kind{
	"notFound":        KindNotFound,
	"exists":          KindExists,
	"invalidState":    KindState,
	"invalidArgument": KindArgument,
	"timeout":         KindTimeout,
}

var (
	errorCode = regexp.MustCompile(`^([a-zA-Z]+): "`)
	// causeCode is looked at when the outer code says nothing.
	causeCode = regexp.MustCompile(`\(cause: "([a-zA-Z]+): `)
)

// maxMessage bounds the program's words in an error.
const maxMessage = 1 << 10

// failure classifies an end that is no success.
func (v *vector) failure(out outcome) error {
	e := v.error(KindOther, "")
	e.Code, e.Stderr = out.Code, command.Printable(out.words, maxWords)
	var failed *command.Error
	if !errors.As(out.err, &failed) {
		e.Err = out.err
		return e
	}
	e.Err = failed.Err
	switch {
	case failed.Missing:
		e.Kind = KindMissing
	case failed.Overflow:
		e.Kind = KindOutput
	case errors.Is(failed.Err, context.DeadlineExceeded), errors.Is(failed.Err, context.Canceled):
		e.Kind = kindOfContext(failed.Err)
	case errors.Is(failed.Err, syscall.E2BIG):
		e.Kind, e.Message = KindArgument, "the arguments and environment are longer than this host allows"
	case failed.Err != nil:
		// e.Err says it
	case failed.Signal != 0:
		e.Kind, e.Message = KindKilled, "signal "+failed.Signal.String()
	default:
		e.Kind, e.Message = read(out.words, out.Code)
	}
	return e
}

// interrupted is the end of a call that waited for its turn.
func (v *vector) interrupted(cause error) error {
	e := v.error(kindOfContext(cause), "")
	e.Err = cause
	return e
}

// read classifies what the program said of itself on standard error.
func read(words string, code int) (Kind, string) {
	words = command.Printable(words, maxWords)
	block, found := lastError(words)
	if !found {
		block = lastLine(words)
	}
	message := shorten(block)
	for _, marker := range downMarkers {
		if strings.Contains(words, marker) {
			return KindUnavailable, message
		}
	}
	if code == exitUsage {
		return KindUsage, message
	}
	return kindOfWords(block), message
}

// lastError is what follows the last line that begins an error, without the
// synopsis behind a usage error.
func lastError(words string) (string, bool) {
	at := strings.LastIndex("\n"+words, "\n"+errorPrefix)
	if at < 0 {
		return "", false
	}
	block := words[at+len(errorPrefix):]
	block, _, _ = strings.Cut(block, "\n"+usagePrefix)
	return strings.TrimSpace(block), true
}

func kindOfWords(block string) Kind {
	if strings.Contains(block, xpcTimeout) {
		return KindTimeout
	}
	m := errorCode.FindStringSubmatch(block)
	if m == nil {
		return KindOther
	}
	if kind, ok := codes[m[1]]; ok {
		return kind
	}
	if cause := causeCode.FindStringSubmatch(block); cause != nil {
		if kind, ok := codes[cause[1]]; ok {
			return kind
		}
	}
	return KindOther
}

// shorten makes one line of the beginning of a message.
func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// ownWords reports whether the standard error of exec ended in the program's
// words rather than the command's. The command can print the same: whoever
// needs to be sure asks it by a way of its own.
func ownWords(words string, code int) bool {
	words = strings.TrimRight(command.Printable(words, maxWords), " \t\n")
	last := lastLine(words)
	before := lastLine(strings.TrimSuffix(words, last))
	switch {
	case code != exitFailure && code != exitUsage:
		return false
	case strings.HasPrefix(last, errorPrefix):
		return true
	case strings.HasPrefix(last, startAdvice):
		return strings.HasPrefix(before, errorPrefix)
	case code == exitUsage:
		at := strings.LastIndex("\n"+words, "\n"+errorPrefix)
		return at >= 0 && strings.Contains(words[at:], "\n"+usagePrefix)
	}
	return false
}
