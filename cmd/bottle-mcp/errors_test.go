package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// TestErrorsReadWell walks every kind of error a user can meet: one line of
// what failed, then hints, nothing else.
func TestErrorsReadWell(t *testing.T) {
	unavailable := &backend.UnavailableError{Backend: "linux", Reason: "no user namespaces", Fix: "run `sysctl x=1`"}
	tests := []struct {
		name string
		err  error
		code int
		hint string
	}{
		{"usage", usagef("run", "run needs a command"), exitUsage, "see 'bottle-mcp run --help'"},
		{"unavailable", fmt.Errorf("launch: %w", unavailable), exitFailed, "run `sysctl x=1`"},
		{"not found", fmt.Errorf("bottle x: %w", backend.ErrNotFound), exitFailed, "bottle-mcp list"},
		{"deadline", fmt.Errorf("start-agent: %w", context.DeadlineExceeded), exitFailed, "bottle-mcp doctor"},
		{"full disk", fmt.Errorf("copy: %w", syscall.ENOSPC), exitFailed, "cleanup --orphans"},
		{"permission", fmt.Errorf("open x: %w", fs.ErrPermission), exitFailed, "who owns"},
		{"own hint", withHint(fmt.Errorf("x: %w", fs.ErrPermission), "do this"), exitFailed, "do this"},
		{"coded", &codedError{exitNoBottle, withHint(errors.New("x"), "try again")}, exitNoBottle, "try again"},
		{"interrupted", fmt.Errorf("launch: %w", context.Canceled), exitInterrupted, ""},
		{"several lines", errors.Join(errors.New("one"), errors.New("two\x1b[31m")), exitFailed, ""},
	}
	line := regexp.MustCompile(`^(bottle-mcp: \S.*|  hint: \S.*|  \S.*)$`)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			printError(&out, style{}, tt.err)
			if got := exitCode(tt.err); got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
			if !strings.HasPrefix(out.String(), "bottle-mcp: ") || strings.Count(out.String(), "bottle-mcp: ") != 1 {
				t.Errorf("not one headline:\n%s", out.String())
			}
			for text := range strings.Lines(out.String()) {
				if !line.MatchString(strings.TrimSuffix(text, "\n")) || strings.Contains(text, "\x1b") {
					t.Errorf("line %q", text)
				}
			}
			if tt.hint != "" && !strings.Contains(out.String(), "  hint: ") || !strings.Contains(out.String(), tt.hint) {
				t.Errorf("no hint %q:\n%s", tt.hint, out.String())
			}
			if strings.Count(out.String(), "sysctl") > 1 {
				t.Errorf("the fix is said twice:\n%s", out.String())
			}
		})
	}
}

func TestHintsInnermostFirst(t *testing.T) {
	err := withHint(fmt.Errorf("outer: %w", withHint(errors.New("inner"), "specific")), "general")
	what, hints := describe(err)
	if what != "outer: inner" || strings.Join(hints, ", ") != "specific, general" {
		t.Errorf("%q, %q", what, hints)
	}
	if withHint(nil, "x") != nil {
		t.Error("a hint made an error of nil")
	}
}

func TestExitErrorIsSilent(t *testing.T) {
	var out bytes.Buffer
	printError(&out, style{}, fmt.Errorf("run: %w", &exitError{42}))
	if out.Len() > 0 || exitCode(&exitError{42}) != 42 || exitCode(nil) != exitOK {
		t.Errorf("printed %q", out.String())
	}
}
