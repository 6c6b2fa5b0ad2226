package selftest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Exit codes of GuestMain.
const (
	exitGreen = iota
	exitRed
	exitError
)

// maxSpec bounds the spec on standard input.
const maxSpec = 1 << 20

// probe is one check: the detail says what was seen; an error is red.
type probe func(ctx context.Context) (detail string, err error)

// Run probes from inside this process, all checks at once. It ends within
// spec.Timeout and a little, after the addresses of a guest that has just
// started have become ready. On anything but Linux every check is red: the
// probe is of a guest, and guests are Linux.
func Run(ctx context.Context, spec Spec) Result {
	start := time.Now()
	if spec.Timeout <= 0 {
		spec.Timeout = time.Second
	}
	settle(ctx, spec)
	ctx, cancel := context.WithTimeout(ctx, spec.Timeout)
	defer cancel()
	names, probes := Names(spec), probes(spec)
	checks := make([]Check, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { checks[i] = check(ctx, name, probes[name]) })
	}
	wg.Wait()
	return Result{Checks: checks, Elapsed: time.Since(start)}
}

// check runs one probe and gives up on it when ctx ends: a call that hangs in
// the kernel must not make the launch hang.
func check(ctx context.Context, name string, p probe) Check {
	start := time.Now()
	type outcome struct {
		detail string
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		detail, err := p(ctx)
		done <- outcome{detail, err}
	}()
	// A probe that watches ctx itself says more than its time-out.
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Until(deadline(ctx))+100*time.Millisecond)
	defer stop()
	var o outcome
	select {
	case o = <-done:
	case <-grace.Done():
		o.err = fmt.Errorf("no answer within the time allowed")
	}
	c := Check{Name: name, OK: o.err == nil, Detail: o.detail, Elapsed: time.Since(start)}
	if o.err != nil {
		c.Detail = o.err.Error()
	}
	return c
}

func deadline(ctx context.Context) time.Time {
	when, ok := ctx.Deadline()
	if !ok {
		return time.Now()
	}
	return when
}

// GuestMain is the hidden verb "guest selftest": a Spec as JSON on stdin, the
// Result as one JSON line on stdout. It returns 0 when all is green, 1 when a
// check is red, 2 when it could not run.
func GuestMain(ctx context.Context, stdin io.Reader, stdout io.Writer) int {
	dec := json.NewDecoder(io.LimitReader(stdin, maxSpec))
	dec.DisallowUnknownFields()
	var spec Spec
	if err := dec.Decode(&spec); err != nil {
		return exitError
	}
	result := Run(ctx, spec)
	if err := json.NewEncoder(stdout).Encode(result); err != nil {
		return exitError
	}
	if len(result.Failed()) > 0 {
		return exitRed
	}
	return exitGreen
}
