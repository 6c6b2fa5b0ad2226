package tools

import (
	"context"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// key finds the bottle that a caller may see and tells it from earlier ones of
// the same id.
func (t *toolset) key(ctx context.Context, who provision.Principal, id backend.ID) (bottleKey, error) {
	b, err := t.bottles.Get(ctx, who, id)
	if err != nil {
		return bottleKey{}, err
	}
	return bottleKey{id: id, created: b.Created.UnixNano()}, nil
}

// execBackground starts a job.
func (t *toolset) execBackground(ctx context.Context, req *request, plan *execPlan) (*reply, error) {
	key, err := t.key(ctx, req.Principal, plan.id)
	if err != nil {
		return nil, err
	}
	j := &job{
		bottle:  key,
		guest:   req.Principal.Kind == provision.Guest,
		command: cleanLine(strings.Join(plan.command.Argv, " "), 200),
		timeout: plan.timeout,
		capture: newCapture(plan.maxOutput, t.outputLog(ctx, req.Principal, plan.id)),
		stdin:   newStdinQueue(plan.in.Stdin, plan.in.KeepStdin),
		signals: make(chan int, 16),
	}
	who := req.Principal
	j.run = func(ctx context.Context, streams backend.Streams) (provision.ExecResult, error) {
		return t.bottles.Exec(ctx, who, plan.id, plan.command, streams)
	}
	if err := t.jobs.start(j); err != nil {
		return nil, err
	}
	j.await(ctx, settle)
	return plan.reportJob(j), nil
}

// execJob does what the caller asks of a job that exists.
func (t *toolset) execJob(ctx context.Context, req *request, plan *execPlan) (*reply, error) {
	key, err := t.key(ctx, req.Principal, plan.id)
	if err != nil {
		return nil, err
	}
	j, err := t.jobs.find(key, plan.in.Job)
	if err != nil {
		return nil, err
	}
	switch plan.action {
	case "wait":
		j.await(ctx, plan.wait)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	case "write":
		if err := j.stdin.push(plan.in.Stdin, plan.in.CloseStdin); err != nil {
			return nil, err
		}
		j.await(ctx, settle)
	case "signal":
		if err := j.deliver(plan.signal); err != nil {
			return nil, err
		}
		j.await(ctx, 2*settle)
	}
	return plan.reportJob(j), nil
}

// deliver signals a job that runs; one that has ended needs none.
func (j *job) deliver(name string) error {
	if j.over() {
		return nil
	}
	return j.signal(signalNumber(name))
}

// reportJob shows a job and the end of its output.
func (p *execPlan) reportJob(j *job) *reply {
	over := j.over()
	e := ended{id: p.id, started: j.started, job: j.output(over)}
	if over {
		e.outcome = &j.outcome
	}
	return p.report(e, j.capture.view(0, p.tail))
}

// output is the job as results show it; over is whether it had ended when the
// caller looked.
func (j *job) output(over bool) *jobOutput {
	out := &jobOutput{
		ID:        j.id,
		State:     jobRunning,
		Command:   j.command,
		StartedAt: j.started.UTC().Truncate(time.Millisecond),
		StdinOpen: j.stdin.open(),
	}
	if !over {
		return out
	}
	out.State = j.state()
	switch {
	case out.State == jobCancelled:
		out.Error = j.cause.Error()
	case j.err != nil:
		out.Error = cleanLine(j.err.Error(), 500)
	}
	return out
}
