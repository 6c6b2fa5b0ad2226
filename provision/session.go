package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
)

// setupEnd bounds how long the guest's half may take to end when it is told to.
const setupEnd = 10 * time.Second

// setups are the guest's halves of package setup that a launch keeps, one for
// each user who has files. A command in a guest costs more than what it writes
// there, so all steps use the same.
type setups struct {
	mu   sync.Mutex
	runs map[string]*setupRun
}

// setupRun is one of them.
type setupRun struct {
	to      *os.File // its standard input
	answers *answerLines
	stderr  *bounded
	cancel  context.CancelFunc
	ended   chan struct{}
	failure error // why it ended, once it has; nil = as it was told
}

// setupAs is the user's, started when it is needed first. It lives on when ctx
// ends; the launch ends it.
func (l *launch) setupAs(ctx context.Context, user string) (*setupRun, error) {
	l.setups.mu.Lock()
	defer l.setups.mu.Unlock()
	if r := l.setups.runs[user]; r != nil {
		return r, nil
	}
	from, to, err := newPipe()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &setupRun{
		to: to, cancel: cancel, ended: make(chan struct{}),
		answers: &answerLines{lines: make(chan []byte, 1)}, stderr: &bounded{limit: 4 << 10},
	}
	go func() {
		defer close(r.ended)
		status, err := l.r.engine.Exec(ctx, l.plan.ID, backend.Command{Argv: setup.Argv(), Dir: "/", User: user},
			backend.Streams{Stdin: backend.PipeEnd{File: from}, Stdout: r.answers, Stderr: r.stderr})
		r.failure = r.judge(status, err)
		_ = from.Close() // a write that waits for a reader must not wait for ever
	}()
	if l.setups.runs == nil {
		l.setups.runs = map[string]*setupRun{}
	}
	l.setups.runs[user] = r
	return r, nil
}

// judge says how the guest's half ended.
func (r *setupRun) judge(status backend.ExitStatus, err error) error {
	switch {
	case r.answers.cut:
		return fmt.Errorf("the guest answered more than %d bytes", setup.MaxResult)
	case err != nil:
		return err
	case status.StartError != "":
		return fmt.Errorf("the verb did not start: %.200q", status.StartError)
	case status.Code != 0:
		return fmt.Errorf("the verb ended with %d: %.200q", status.Code, strings.TrimSpace(r.stderr.data.String()))
	}
	return nil
}

// bring has the guest bring files and tell what became of them. When ctx ends
// first, so does the guest's half.
func (r *setupRun) bring(ctx context.Context, files []setup.File) ([]setup.Outcome, error) {
	input, err := setup.Encode(files)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, r.cancel)
	defer stop()
	_, failed := r.to.Write(input)
	if failed == nil {
		select {
		case line := <-r.answers.lines:
			return setup.Decode(line, files)
		case <-r.ended:
		}
	}
	r.cancel()
	<-r.ended
	select {
	case line := <-r.answers.lines: // its last word
		return setup.Decode(line, files)
	default:
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case r.failure != nil:
		return nil, r.failure
	}
	return nil, errors.Join(errors.New("the verb ended before it answered"), failed)
}

// end tells all of them to end, and reports one that did not do so well.
func (s *setups) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, setupEnd)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for user, r := range s.runs {
		_ = r.to.Close()
		stop := context.AfterFunc(ctx, r.cancel)
		<-r.ended
		stop()
		if r.failure != nil {
			errs = append(errs, fmt.Errorf("what writes the configuration as %s did not end well: %w", user, r.failure))
		}
		r.cancel()
	}
	s.runs = nil
	return errors.Join(errs...)
}

// stop ends what is left of them, however the launch went.
func (s *setups) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runs {
		_ = r.to.Close()
		r.cancel()
		<-r.ended
	}
	s.runs = nil
}

// answerLines passes a guest's answers on, each a line of bounded length. One
// that nobody asked for is refused with all that follow.
type answerLines struct {
	lines chan []byte
	line  bytes.Buffer
	cut   bool
}

// Write implements io.Writer.
func (a *answerLines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, whole := bytes.Cut(p, []byte("\n"))
		if a.cut = a.cut || a.line.Len()+len(part) > setup.MaxResult; a.cut {
			return 0, errCut
		}
		a.line.Write(part)
		p = rest
		if !whole {
			continue
		}
		select {
		case a.lines <- bytes.Clone(a.line.Bytes()):
			a.line.Reset()
		default:
			a.cut = true
			return 0, errCut
		}
	}
	return n, nil
}
