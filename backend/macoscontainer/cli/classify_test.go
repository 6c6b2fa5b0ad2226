package cli

import (
	"errors"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	tests := []struct {
		name, stderr string
		code         int
		kind         Kind
		message      string
	}{
		{"not found", `Error: notFound: "container not found: a"` + "\n", 1, KindNotFound, `notFound: "container not found: a"`},
		{"exists", `Error: exists: "network X already exists"`, 1, KindExists, `exists: "network X already exists"`},
		{"state", `Error: invalidState: "container X is not running"`, 1, KindState, `invalidState: "container X is not running"`},
		{"argument", `Error: invalidArgument: "no"`, 1, KindArgument, `invalidArgument: "no"`},
		{"timeout", `Error: timeout: "took long"`, 1, KindTimeout, `timeout: "took long"`},
		{"unsupported", `Error: unsupported: "x"`, 1, KindOther, `unsupported: "x"`},
		{"inner error", `Error: internalError: "failed to stop" (cause: "notFound: "container a"")`, 1, KindNotFound, `internalError: "failed to stop" (cause: "notFound: "container a"")`},
		{"outer error counts first", `Error: invalidState: "x" (cause: "notFound: "a"")`, 1, KindState, `invalidState: "x" (cause: "notFound: "a"")`},
		{"log lines before it", "2026 warning: slow\nError: notFound: \"x\"\n\n", 1, KindNotFound, `notFound: "x"`},
		{"the last error counts", "Error: exists: \"a\"\nError: notFound: \"b\"\n", 1, KindNotFound, `notFound: "b"`},
		{"two failures in one", "Error: notFound: \"a\"\nnotFound: \"b\"\n", 1, KindNotFound, `notFound: "a" notFound: "b"`},
		{"usage", "Error: Unknown option '--format'\nUsage: container system status [--prefix <prefix>]\n  See 'container system status --help' for more information.\n", 64, KindUsage, "Unknown option '--format'"},
		{"daemon down", "Error: interrupted: \"XPC connection error: Connection invalid\"\nEnsure container system service has been started with `container system start`.\n", 1, KindUnavailable, "interrupted: \"XPC connection error: Connection invalid\" Ensure container system service has been started with `container system start`."},
		{"daemon down, unknown word", "Error: Plugins are unavailable. Start the container system services and retry:\n", 64, KindUnavailable, "Plugins are unavailable. Start the container system services and retry:"},
		{"daemon slow", `Error: internalError: "XPC timeout for request to com.apple.container.apiserver/networkList"`, 1, KindTimeout, `internalError: "XPC timeout for request to com.apple.container.apiserver/networkList"`},
		{"words of another kind", "failed to find target executable x\n", 1, KindOther, "failed to find target executable x"},
		{"no words", "", 1, KindOther, ""},
		{"no words, usage", "", 64, KindUsage, ""},
		{"a code that is no code", `Error: the thing: "x"`, 1, KindOther, `the thing: "x"`},
		{"control characters", "Error: \x1b[31mnotFound\x07: \"x\"", 1, KindOther, "\uFFFD[31mnotFound\uFFFD: \"x\""},
		{"long words", "Error: " + strings.Repeat("é", maxMessage), 1, KindOther, strings.Repeat("é", maxMessage/2) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if kind, message := read(tt.stderr, tt.code); kind != tt.kind || message != tt.message {
				t.Errorf("read = %q, %q\nwant   %q, %q", kind, message, tt.kind, tt.message)
			}
		})
	}
}

func TestOwnWords(t *testing.T) {
	tests := []struct {
		name, stderr string
		code         int
		want         bool
	}{
		{"its error", "the command's words\nError: notFound: \"x\"\n", 1, true},
		{"without a newline", `Error: notFound: "x"`, 1, true},
		{"its error and the advice", "Error: interrupted: \"x\"\nEnsure container system service has been started with `container system start`.\n", 1, true},
		{"usage", "Error: Missing expected argument\nUsage: container exec\n  See 'container exec --help'\n", 64, true},
		{"another status", `Error: notFound: "x"`, 2, false},
		{"success", `Error: notFound: "x"`, 0, false},
		{"an error further up", "Error: mine\nand more of mine\n", 1, false},
		{"the advice alone", "Ensure container system service has been started\n", 1, false},
		{"status 64 of the command", "no such option\n", 64, false},
		{"nothing", "", 1, false},
		{"in the middle of a line", "x Error: y", 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ownWords(tt.stderr, tt.code); got != tt.want {
				t.Errorf("ownWords = %v", got)
			}
		})
	}
}

// TestErrorsAreSentences: every kind says what failed, on what, and what to do.
func TestErrorsAreSentences(t *testing.T) {
	kinds := []Kind{
		KindUsage, KindNotFound, KindExists, KindState, KindArgument, KindUnavailable, KindTimeout, KindOutput, KindMissing, KindKilled, KindOther,
	}
	for _, kind := range kinds {
		e := &Error{Command: "network create", Object: "n1", Kind: kind, Code: 1, Message: "its words"}
		text := e.Error()
		if !strings.HasPrefix(text, `container network create "n1": `) || !strings.Contains(text, ": its words; ") ||
			e.Hint() == "" || !strings.HasSuffix(text, "; "+e.Hint()) {
			t.Errorf("%s: %q", kind, text)
		}
		if KindOf(errors.Join(errors.New("x"), e)) != kind {
			t.Errorf("KindOf of %s", kind)
		}
	}
	if len(kinds) != len(phrases) || KindOf(errors.New("x")) != "" {
		t.Errorf("%d kinds, %d phrases", len(kinds), len(phrases))
	}
	if text := (&Error{Command: "run", Kind: KindTimeout, Err: errors.New("the cause")}).Error(); !strings.Contains(text, ": the cause; ") {
		t.Errorf("an error without words hides its cause: %q", text)
	}
}
