package provision

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/provision/setup"
)

// TestHostileSetup has guests whose half of package setup does not do what it was
// told: the launch fails in the step that noticed, and soon.
func TestHostileSetup(t *testing.T) {
	honest := func(stdin io.Reader, stdout io.Writer, dir string) int { return setup.GuestMainAt(dir, stdin, stdout) }
	for name, tt := range map[string]struct {
		setup      func(ctx context.Context, stdin io.Reader, stdout io.Writer) (int, error)
		step, says string
	}{
		"ends at once":      {func(context.Context, io.Reader, io.Writer) (int, error) { return 3, nil }, "configure", "ended with 3"},
		"ends without word": {func(context.Context, io.Reader, io.Writer) (int, error) { return 0, nil }, "configure", "before it answered"},
		"engine fails":      {func(context.Context, io.Reader, io.Writer) (int, error) { return 0, errors.New("engine broke") }, "configure", "engine broke"},
		"says nonsense": {func(_ context.Context, stdin io.Reader, stdout io.Writer) (int, error) {
			_, err := io.WriteString(stdout, "hello\n")
			return 0, err
		}, "configure", "malformed"},
		"says too much": {func(_ context.Context, stdin io.Reader, stdout io.Writer) (int, error) {
			_, err := io.WriteString(stdout, strings.Repeat("x", setup.MaxResult+1))
			return 1, err
		}, "configure", "more than"},
		"answers before it is asked": {func(_ context.Context, stdin io.Reader, stdout io.Writer) (int, error) {
			_, err := io.WriteString(stdout, "{}\n{}\n{}\n")
			return 1, err
		}, "configure", ""},
		"ends after the first": {func(_ context.Context, stdin io.Reader, stdout io.Writer) (int, error) {
			line, _ := bufio.NewReader(stdin).ReadString('\n')
			return honest(strings.NewReader(line), stdout, t.TempDir()), nil
		}, "write-prompt", "before it answered"},
		"ends badly": {func(_ context.Context, stdin io.Reader, stdout io.Writer) (int, error) {
			honest(stdin, stdout, t.TempDir())
			return 9, nil
		}, "ready", "ended with 9"},
	} {
		t.Run(name, func(t *testing.T) {
			b, req := fullBed(t)
			b.fake.caps.Images = true // the guest's files are its own, and no other check sees them
			req.ID = "the-id"
			p := b.plan(req)
			b.fake.setup = tt.setup
			start := time.Now()
			_, err := b.Launch(t.Context(), p, nil)
			var failed *StepError
			if !errors.As(err, &failed) || failed.Step != tt.step || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error is %v", err)
			}
			if took := time.Since(start); took > setupEnd/2 {
				t.Errorf("it took %s", took)
			}
			b.nothingLeft()
		})
	}
}

// TestSilentSetup has one that never answers: whoever waits for the launch can
// end it.
func TestSilentSetup(t *testing.T) {
	b, req := fullBed(t)
	req.ID = "the-id"
	p := b.plan(req)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	b.fake.setup = func(ctx context.Context, stdin io.Reader, _ io.Writer) (int, error) {
		defer close(ended)
		time.AfterFunc(20*time.Millisecond, cancel)
		<-ctx.Done() // as an engine kills a command
		return 0, context.Cause(ctx)
	}
	_, err := b.Launch(ctx, p, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	select {
	case <-ended:
	default:
		t.Error("the guest's half outlives the launch")
	}
	b.nothingLeft()
}
