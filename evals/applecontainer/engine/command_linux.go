package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// output runs a program and returns its standard output; a failure carries
// what it said.
func output(ctx context.Context, stdin, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return outputOf(ctx, cmd)
}

// outputIn is output in a directory.
func outputIn(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	return outputOf(ctx, cmd)
}

func outputOf(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.String(), nil
	}
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return stdout.String(), fmt.Errorf("%s %s: %w: %s", cmd.Args[0], cmd.Args[1], err, lastLine(stderr.String()))
}

// lastLine is the last line that says something: usage advice does not.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for len(lines) > 1 && strings.HasPrefix(lines[len(lines)-1], "See '") {
		lines = lines[:len(lines)-1]
	}
	return lines[len(lines)-1]
}

// ip runs lines of iproute2 in the caller's network namespace.
func ip(ctx context.Context, lines ...string) error {
	_, err := output(ctx, strings.Join(lines, "\n")+"\n", "ip", "-batch", "-")
	return err
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
