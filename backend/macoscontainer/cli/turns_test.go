package cli

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// TestOnlyWhatPassesIsTriedAgain counts the calls.
func TestOnlyWhatPassesIsTriedAgain(t *testing.T) {
	inUse := reply{Stderr: "net: in use by c1\nError: internalError: \"delete failed for one or more networks: [\"n1\"]\"\n", Code: 1}
	slow := reply{Stderr: "Error: internalError: \"XPC timeout for request to x/networkList\"\n", Code: 1}
	stopping := reply{Stderr: "Error: invalidState: \"builder is stopping, try again\"\n", Code: 1}
	missing := reply{Stderr: "Error: notFound: \"x\"\n", Code: 1}
	stale := reply{Stderr: "Error: internalError: \"failed to kill process\"\n", Code: 1}
	down := reply{Stderr: "Error: interrupted: \"XPC connection error\"\n", Code: 1}
	list := reply{Stdout: "[]"}
	dockerfile := writeDockerfile(t, 5)

	remove := func(force bool) func(context.Context, *CLI) error {
		return func(ctx context.Context, c *CLI) error { return c.Delete(ctx, "c1", force) }
	}
	networkDelete := func(ctx context.Context, c *CLI) error { return c.NetworkDelete(ctx, "n1") }
	networkList := func(ctx context.Context, c *CLI) error { _, err := c.NetworkList(ctx); return err }
	builderStart := func(ctx context.Context, c *CLI) error { return c.BuilderStart(ctx, BuilderRequest{}) }
	buildIt := build(func(r *BuildRequest) { r.Dockerfile = dockerfile })
	tests := []struct {
		name    string
		call    func(context.Context, *CLI) error
		replies []reply
		calls   int
		kind    Kind
	}{
		{"forced delete after a stale command", remove(true), []reply{stale, {}}, 2, ""},
		{"forced delete fails twice", remove(true), []reply{stale}, 2, KindOther},
		{"forced delete of nothing", remove(true), []reply{missing}, 1, KindNotFound},
		{"forced delete without a daemon", remove(true), []reply{down}, 1, KindUnavailable},
		{"plain delete", remove(false), []reply{stale, {}}, 1, KindOther},
		{"network still in use", networkDelete, []reply{inUse, inUse, {}}, 3, ""},
		{"network in use for good", networkDelete, []reply{inUse}, 3, KindOther},
		{"network of nobody", networkDelete, []reply{missing, {}}, 1, KindNotFound},
		{"slow daemon", networkList, []reply{slow, list}, 2, ""},
		{"slow daemon for good", networkList, []reply{slow}, 3, KindTimeout},
		{"list without a daemon", networkList, []reply{down, list}, 1, KindUnavailable},
		{"builder on its way down", builderStart, []reply{stopping, {}}, 2, ""},
		{"build while it is", buildIt, []reply{stopping, {Stdout: "t\n"}}, 2, ""},
		{"build that fails", buildIt, []reply{stale, {Stdout: "t\n"}}, 1, KindOther},
		{"network create", network("n1", nil), []reply{slow, {}}, 1, KindTimeout},
		{"run", run(func(*RunRequest) {}), []reply{stale, {Stdout: "c1"}}, 1, KindOther},
		{"exec", exec(func(*ExecRequest) {}), []reply{{Code: 1}, {}}, 1, ""},
		{"stop", func(ctx context.Context, c *CLI) error { return c.Stop(ctx, StopRequest{Container: "c1"}) }, []reply{stale, {}}, 1, KindOther},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t, tt.replies...)
			err := tt.call(t.Context(), p.CLI)
			if KindOf(err) != tt.kind || tt.kind == "" && err != nil || len(p.argvs) != tt.calls {
				t.Errorf("%d calls, error %v; want %d, kind %q", len(p.argvs), err, tt.calls, tt.kind)
			}
		})
	}
	t.Run("a pause ends with ctx", func(t *testing.T) {
		p := newProgram(t, inUse)
		p.cfg.Scale = 100
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		began := time.Now()
		wantKind(t, p.NetworkDelete(ctx, "n1"), KindOther)
		if took := time.Since(began); len(p.argvs) != 1 || took > 10*time.Second {
			t.Errorf("%d calls in %v", len(p.argvs), took)
		}
	})
}

// most is how many spans overlap at most.
func most(spans [][2]int64) (n int) {
	for _, a := range spans {
		at := 0
		for _, b := range spans {
			if b[0] <= a[0] && a[0] < b[1] {
				at++
			}
		}
		n = max(n, at)
	}
	return n
}

func TestCallsTakeTurns(t *testing.T) {
	linger := reply{Stdout: "c1\n", Linger: 400 * time.Millisecond}
	dockerfile := writeDockerfile(t, 5)
	tests := []struct {
		name     string
		call     func(context.Context, *CLI) error
		low, max int
	}{
		{"one boot", run(func(*RunRequest) {}), 1, 1},
		{"two other changes", func(ctx context.Context, c *CLI) error { return c.Delete(ctx, "c1", false) }, 2, 2},
		{"one build", build(func(r *BuildRequest) { r.Dockerfile = dockerfile }), 1, 1},
		{"reads and commands are free", exec(func(*ExecRequest) {}), 2, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newProgram(t, linger)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if err := tt.call(t.Context(), p.CLI); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			spans := p.spans(t)
			if n := most(spans); len(spans) != 4 || n < tt.low || n > tt.max {
				t.Errorf("%d calls, %d at a time; want %d to %d", len(spans), n, tt.low, tt.max)
			}
		})
	}
	t.Run("waiting ends with ctx", func(t *testing.T) {
		p := newProgram(t, reply{Hang: true})
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { first <- run(func(*RunRequest) {})(ctx, p.CLI) }()
		for len(p.gates.boot) == 0 {
			time.Sleep(time.Millisecond)
		}
		waiting, stop := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errBroken)
		defer stop()
		e := wantKind(t, run(func(*RunRequest) {})(waiting, p.CLI), KindTimeout)
		if !errors.Is(e, context.DeadlineExceeded) || !errors.Is(e, errBroken) {
			t.Errorf("error %v", e)
		}
		cancel()
		wantKind(t, <-first, KindKilled)
	})
}
