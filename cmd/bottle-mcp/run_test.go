package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// execFunc is a fake command.
type execFunc = func(context.Context, backend.Command, backend.Streams) (provision.ExecResult, error)

func TestRunExitCodes(t *testing.T) {
	ends := func(status backend.ExitStatus, err error) execFunc {
		return func(context.Context, backend.Command, backend.Streams) (provision.ExecResult, error) {
			return provision.ExecResult{Status: status}, err
		}
	}
	forever := func(ctx context.Context, _ backend.Command, _ backend.Streams) (provision.ExecResult, error) {
		<-ctx.Done()
		return provision.ExecResult{}, ctx.Err()
	}
	tests := []struct {
		name   string
		exec   execFunc
		o      runOptions
		faults string
		want   int
		stderr string
	}{
		{name: "success", exec: ends(backend.ExitStatus{}, nil)},
		{name: "exit code", exec: ends(backend.ExitStatus{Code: 42}, nil), want: 42},
		{name: "signal", exec: ends(backend.ExitStatus{Code: 137, Signal: 9}, nil), want: 137},
		{name: "no such command", exec: ends(backend.ExitStatus{Code: 127, StartError: "not found"}, nil), want: 127, stderr: "did not start: not found"},
		{name: "engine failed", exec: ends(backend.ExitStatus{}, errors.New("the shim died")), want: exitNoBottle, stderr: "the shim died"},
		{name: "time limit", exec: forever, o: runOptions{timeout: 20 * time.Millisecond}, want: exitTimeout, stderr: "its time limit"},
		{name: "launch failed", faults: "launch", want: exitNoBottle, stderr: "launch is broken"},
		{name: "removal failed", exec: ends(backend.ExitStatus{}, nil), faults: "cleanup", want: exitNoBottle, stderr: "it would not go"},
		{name: "removal failed after the command", exec: ends(backend.ExitStatus{Code: 3}, nil), faults: "cleanup", want: 3, stderr: "it would not go"},
		{name: "bad env", o: runOptions{env: []string{"=x"}}, want: exitUsage, stderr: "NAME=VALUE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(tt.faults)
			f.exec = tt.exec
			c := newFakeCLI(t, f)
			err := c.run(context.Background(), tt.o, []string{"cmd"})
			printError(c.con.err, style{}, err)
			if got := exitCode(err); got != tt.want {
				t.Errorf("exit code %d, want %d (%v)", got, tt.want, err)
			}
			if !strings.Contains(c.err.String(), tt.stderr) {
				t.Errorf("stderr %q, want %q in it", c.err.String(), tt.stderr)
			}
			if tt.faults == "" && tt.want != exitUsage && len(f.removed) != 1 {
				t.Errorf("removed %v, want the one bottle", f.removed)
			}
		})
	}
}

func TestRunStreamsAndSignals(t *testing.T) {
	f := newFake()
	f.exec = func(ctx context.Context, _ backend.Command, s backend.Streams) (provision.ExecResult, error) {
		if _, err := io.Copy(s.Stdout, s.Stdin); err != nil {
			return provision.ExecResult{}, err
		}
		_, _ = io.WriteString(s.Stderr, "warning\n")
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); err != nil {
			return provision.ExecResult{}, err
		}
		select {
		case got := <-s.Signals:
			return provision.ExecResult{Status: backend.ExitStatus{Code: 128 + got, Signal: got}}, nil
		case <-ctx.Done():
			return provision.ExecResult{}, ctx.Err()
		}
	}
	c := newFakeCLI(t, f)
	c.con.in = strings.NewReader("typed")
	err := c.run(context.Background(), runOptions{timeout: 10 * time.Second}, []string{"cmd"})
	if got := exitCode(err); got != 138 {
		t.Errorf("exit code %d, want 138: SIGUSR1 is 10 in the guest (%v)", got, err)
	}
	if c.out.String() != "typed" || !strings.Contains(c.err.String(), "warning\n") {
		t.Errorf("stdout %q, stderr %q", c.out.String(), c.err.String())
	}
}

// brokenWriter is a pipe whose reader has gone.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestRunEndsWhenItsReaderGoes(t *testing.T) {
	f := newFake()
	f.exec = func(ctx context.Context, _ backend.Command, s backend.Streams) (provision.ExecResult, error) {
		for ctx.Err() == nil {
			if _, err := io.WriteString(s.Stdout, "y\n"); err != nil {
				return provision.ExecResult{}, err
			}
		}
		return provision.ExecResult{}, ctx.Err()
	}
	c := newFakeCLI(t, f)
	c.con.out = brokenWriter{}
	err := c.run(context.Background(), runOptions{timeout: 10 * time.Second}, []string{"yes"})
	if got := exitCode(err); got != 141 {
		t.Errorf("exit code %d, want 141 as in a shell (%v)", got, err)
	}
	if len(f.removed) != 1 {
		t.Errorf("removed %v, want the one bottle", f.removed)
	}
}

func TestRunInterruptedBeforeTheCommand(t *testing.T) {
	f := newFake()
	f.exec = func(context.Context, backend.Command, backend.Streams) (provision.ExecResult, error) {
		return provision.ExecResult{}, errors.New("the command was started")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := newFakeCLI(t, f)
	err := c.run(ctx, runOptions{}, []string{"cmd"})
	if got := exitCode(err); got != exitInterrupted {
		t.Errorf("exit code %d, want %d (%v)", got, exitInterrupted, err)
	}
}

func TestRunSaysWhatWasRefused(t *testing.T) {
	f := newFake()
	f.exec = func(context.Context, backend.Command, backend.Streams) (provision.ExecResult, error) {
		refusal := sidecars.Decision{Method: "CONNECT", Host: "example.com", Port: 443, Reason: "host_not_allowed", Message: "not in the policy\x1b[2J"}
		return provision.ExecResult{Refusals: []sidecars.Decision{refusal, refusal, refusal, refusal, refusal, refusal, refusal}}, nil
	}
	c := newFakeCLI(t, f)
	if err := c.run(context.Background(), runOptions{}, []string{"cmd"}); err != nil {
		t.Fatal(err)
	}
	text := c.err.String()
	if !strings.Contains(text, "egress refused CONNECT example.com:443: host_not_allowed: not in the policy") ||
		!strings.Contains(text, "and 2 more") || strings.Contains(text, "\x1b") {
		t.Errorf("stderr:\n%s", text)
	}
}

func TestSecondInterruptKills(t *testing.T) {
	killed := make(chan struct{})
	signals, stop := forwardSignals(func() { close(killed) })
	defer stop()
	for range 2 {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		// Equal signals that are pending at once are one signal.
		time.Sleep(50 * time.Millisecond)
	}
	select {
	case <-killed:
	case <-time.After(5 * time.Second):
		t.Fatal("the second interrupt does not kill")
	}
	if got := <-signals; got != int(syscall.SIGINT) {
		t.Errorf("the command got %d, want SIGINT", got)
	}
}

func TestParseEnv(t *testing.T) {
	here := func(name string) (string, bool) { return "from here", name == "SET" }
	got, named, err := parseEnv([]string{"A=1", "B=x=y", "C=", "SET"}, here)
	if err != nil || got["A"] != "1" || got["B"] != "x=y" || got["C"] != "" || len(got) != 3 {
		t.Errorf("got %v, %v", got, err)
	}
	if len(named) != 1 || named["SET"].Reveal() != "from here" {
		t.Errorf("named %v", named)
	}
	for _, bad := range []string{"NOT_SET", "=x", "", "a b=c"} {
		if _, _, err := parseEnv([]string{bad}, here); exitCode(err) != exitUsage {
			t.Errorf("--env %q gives %v", bad, err)
		}
	}
}
