package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// unlistedHost is a name that no manifest allows: ".invalid" can never exist.
const unlistedHost = "unlisted.bottle-mcp.invalid"

// healthURL is where the proxy itself answers, with "ok" and its bottle.
const healthURL = "http://_egress.local/healthz"

// cancelBound is how long the end of a cancelled command may take.
const cancelBound = time.Second

// ran is a finished command with its output.
type ran struct {
	provision.ExecResult
	stdout, stderr string
}

// command runs argv in the bottle.
func (p *probe) command(ctx context.Context, stdin string, argv ...string) (ran, error) {
	var stdout, stderr bytes.Buffer
	result, err := p.bottles.Exec(ctx, operator, p.bottle.ID, backend.Command{Argv: argv},
		backend.Streams{Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr})
	if err == nil && result.Status.StartError != "" {
		err = fmt.Errorf("%s did not start: %s", argv[0], result.Status.StartError)
	}
	return ran{result, stdout.String(), stderr.String()}, err
}

// exec checks that commands run exactly as they were given.
func (p *probe) exec(ctx context.Context, s *probeSection) {
	s.check("arguments arrive unchanged", func() (string, error) {
		const odd = `two  words "quotes" $HOME 'x' *`
		got, err := p.command(ctx, "", "printf", "%s", odd)
		return same(got, err, got.stdout, odd)
	})
	s.check("standard input", func() (string, error) {
		const text = "line one\nline two\n"
		got, err := p.command(ctx, text, "cat")
		return same(got, err, got.stdout, text)
	})
	s.check("exit code", func() (string, error) {
		got, err := p.command(ctx, "", "sh", "-c", "echo out; echo err >&2; exit 42")
		if err == nil && (got.Status.Code != 42 || got.stdout != "out\n" || got.stderr != "err\n") {
			err = fmt.Errorf("exit 42 came back as %d, stdout %q, stderr %q", got.Status.Code, got.stdout, got.stderr)
		}
		return fmt.Sprintf("%d, streams apart", got.Status.Code), err
	})
	s.check("signal", func() (string, error) {
		got, err := p.command(ctx, "", "sh", "-c", "kill -TERM $$")
		if err == nil && (got.Status.Signal != 15 || got.Status.Code != 143) {
			err = fmt.Errorf("SIGTERM came back as signal %d, code %d", got.Status.Signal, got.Status.Code)
		}
		return "SIGTERM is signal 15, code 143", err
	})
	s.check("user", func() (string, error) {
		got, err := p.command(ctx, "", "id", "-u")
		return same(got, err, strings.TrimSpace(got.stdout), fmt.Sprint(backend.AgentUID))
	})
	s.check("cancel kills the whole tree", func() (string, error) { return p.cancelled(ctx) })
}

// cancelled starts a tree of sleepers, cancels it and looks for survivors.
func (p *probe) cancelled(ctx context.Context) (string, error) {
	const marker = "86397" // seconds nobody else sleeps
	started := &firstByte{seen: make(chan struct{})}
	execCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = p.bottles.Exec(execCtx, operator, p.bottle.ID,
			backend.Command{Argv: []string{"sh", "-c", "(sleep " + marker + " &) ; echo up; sleep " + marker}},
			backend.Streams{Stdout: started})
	}()
	select {
	case <-started.seen:
	case <-ended:
		return "", errors.New("the command ended before it was cancelled")
	case <-ctx.Done():
		return "", ctx.Err()
	}
	start := time.Now()
	cancel()
	select {
	case <-ended:
	case <-time.After(cancelBound):
		return "", fmt.Errorf("the command still runs %s after it was cancelled", cancelBound)
	}
	took := time.Since(start)
	// No command line of the guest may still hold the marker. The brackets
	// keep the looking command from finding itself.
	got, err := p.command(ctx, "", "sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'sleep [8]6397'")
	if err == nil && strings.TrimSpace(got.stdout) != "0" {
		err = fmt.Errorf("%s processes of the cancelled tree still run", strings.TrimSpace(got.stdout))
	}
	return "in " + milliseconds(took), err
}

// firstByte is a writer that tells when something was written.
type firstByte struct {
	seen chan struct{}
	done bool
}

// Write implements io.Writer.
func (f *firstByte) Write(p []byte) (int, error) {
	if !f.done && len(p) > 0 {
		f.done = true
		close(f.seen)
	}
	return len(p), nil
}

// same is an error unless the command ended with 0 and got is want.
func same(r ran, err error, got, want string) (string, error) {
	switch {
	case err != nil:
		return "", err
	case r.Status.Code != 0:
		return "", fmt.Errorf("exit code %d: %s", r.Status.Code, r.stderr)
	case got != want:
		return "", fmt.Errorf("got %q, want %q", got, want)
	}
	return got, nil
}

// egress checks the only way out: it is there, and it refuses with a reason.
func (p *probe) egress(ctx context.Context, s *probeSection) {
	s.check("proxy answers", func() (string, error) {
		got, err := p.command(ctx, "", backend.GuestBinary, "fetch", healthURL)
		answer, err := same(got, err, strings.TrimSpace(got.stdout), "ok "+string(p.bottle.ID))
		return p.bottle.Endpoints.Egress + " says " + answer, err
	})
	s.check("unlisted host over https", func() (string, error) {
		got, err := p.command(ctx, "", backend.GuestBinary, "fetch", "https://"+unlistedHost+"/")
		return refused(got, err)
	})
	s.check("unlisted host over http", func() (string, error) {
		got, err := p.command(ctx, "", backend.GuestBinary, "fetch", "http://"+unlistedHost+"/")
		if err == nil && !json.Valid([]byte(got.stdout)) {
			err = fmt.Errorf("the refusal is not JSON for machines: %.80q", got.stdout)
		}
		return refused(got, err)
	})
}

// refused is an error unless the fetch failed and exec's result says why.
func refused(r ran, err error) (string, error) {
	if err != nil {
		return "", err
	}
	if r.Status.Code == 0 {
		return "", fmt.Errorf("%s was reached", unlistedHost)
	}
	for _, d := range r.Refusals {
		if d.Host == unlistedHost && d.Reason != "" {
			return "refused: " + d.Reason, nil
		}
	}
	return "", fmt.Errorf("exec names no refusal of %s; the command said %.120q", unlistedHost, r.stderr)
}
