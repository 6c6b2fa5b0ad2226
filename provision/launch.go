package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const (
	// rollbackTimeout bounds the undoing of a failed launch, which has its own
	// time because the launch's may have run out.
	// An engine with virtual machines takes its time.
	rollbackTimeout = 2 * time.Minute
	// otherLaunch is how long a launch waits for another one of the same id.
	otherLaunch = 60 * time.Second
	// maxTries is how often an id that was just given back is tried again.
	maxTries = 5
)

// step is one part of a launch. do returns a short detail for people. undo
// runs for every step that was begun, also for the one that failed, and knows
// by itself what there is to undo.
type step struct {
	name string
	do   func(context.Context, *launch) (string, error)
	undo func(context.Context, *launch) error
}

// steps lists the launch's parts, in the order that every backend has.
func (p *Plan) steps() []step {
	steps := []step{
		{"reserve", reserve, unreserve},
	}
	if p.resolved.caps.Images {
		steps = append(steps, step{"prepare-image", prepareImage, nil})
	}
	steps = append(steps, step{"render", render, nil})
	if p.leads() {
		steps = append(steps, step{"serve-bottle", serveBottle, stopServing})
	}
	steps = append(steps, []step{
		{"start-sidecar", startSidecar, removeFromEngine},
		{"wire-environment", wireEnvironment, nil},
		{"start-agent", startAgent, nil}, // goes with the sidecar
		{"self-test", selfTest, nil},
		{"configure", configure, nil},
	}...)
	if p.resolved.agent != nil {
		steps = append(steps, step{"write-provider-files", writeAgentFiles, nil})
		if len(p.resolved.agent.skills) > 0 {
			steps = append(steps, step{"write-skills", writeSkills, nil})
		}
	}
	if p.Workspace != nil {
		steps = append(steps, step{"copy-workspace", copyWorkspace, nil})
	}
	if p.resolved.hasPrompt() {
		steps = append(steps, step{"write-prompt", writePrompt, nil})
	}
	return append(steps, step{"ready", handOver, nil})
}

// launch is a launch in progress.
type launch struct {
	m      *Manager
	plan   *Plan
	r      *resolvedPlan
	report func(Event)

	lock    *state.Lock
	record  state.Record
	detail  detail
	caCert  []byte
	secrets sidecars.Secrets
	canary  secret.Value        // until it is in the guest
	login   *provider.HostLogin // of this host, when the agent uses it
	config  sidecars.Config
	env     []string
	image   string
	note    func(string) // a line about the step that runs
	setups  setups       // what brings files into the guest
	// engaged is true when the engine may have something of this bottle.
	engaged bool
	undoErr error
}

// Launch makes the plan live. It reports each step at its start and end. An
// error is a *StepError, except where the plan's id is taken
// (backend.ErrExists); everything that the launch made is gone then.
//
// A plan whose id the caller chose is idempotent: when the same plan runs
// already, its bottle is returned with AlreadyRan.
func (m *Manager) Launch(ctx context.Context, plan *Plan, report func(Event)) (*Bottle, error) {
	if plan == nil || plan.resolved == nil || plan.resolved.manager != m {
		return nil, errors.New("launch: the plan was not made by this manager; call Plan first")
	}
	if len(plan.Questions) > 0 {
		return nil, unanswered(plan.Questions)
	}
	if report == nil {
		report = func(Event) {}
	}
	for try := 0; ; try++ {
		l := &launch{m: m, plan: plan, r: plan.resolved, report: report}
		start := time.Now()
		err := l.run(ctx)
		if err == nil || l.lock != nil { // an id that is taken is no launch
			m.cfg.Observer.Launched(plan.Backend, time.Since(start), err)
		}
		if err == nil {
			return l.bottle(), nil
		}
		if l.lock != nil || !errors.Is(err, backend.ErrExists) {
			return nil, err
		}
		b, retry, failed := m.existing(ctx, plan)
		if plan.resolved.parent != nil && errors.Is(failed, backend.ErrExists) {
			failed = taken(plan.ID)
		}
		if !retry {
			return b, failed
		}
		if try == maxTries {
			return nil, err
		}
	}
}

// run does the steps in order, or undoes them in reverse.
func (l *launch) run(ctx context.Context) error {
	steps := l.plan.steps()
	defer l.setups.stop()
	for i, s := range steps {
		event := Event{Step: s.name, Index: i + 1, Total: len(steps)}
		l.report(event)
		l.note = func(line string) {
			if l.r.parent != nil {
				return // a build's lines are the operator's
			}
			about := event
			about.Detail = line
			l.report(about)
		}
		start := time.Now()
		var err error
		if i > 0 {
			err = l.parentLives()
		}
		if err == nil {
			event.Detail, err = s.do(ctx, l)
		}
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx) // nobody waits for this bottle any more
		}
		event.Elapsed = time.Since(start)
		if err != nil {
			return l.failed(ctx, steps[:i+1], err)
		}
		event.Done = true
		l.detail.Timings = append(l.detail.Timings, StepTiming{Step: s.name, Elapsed: event.Elapsed})
		l.report(event)
	}
	l.end()
	return nil
}

// failed unwinds the steps that were begun and says which one failed.
func (l *launch) failed(ctx context.Context, begun []step, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	l.secrets, l.login = sidecars.Secrets{}, nil
	l.setups.stop()
	for i := len(begun) - 1; i >= 0; i-- {
		if undo := begun[i].undo; undo != nil {
			l.undoErr = errors.Join(l.undoErr, undo(ctx, l))
		}
	}
	failed := &StepError{Step: begun[len(begun)-1].name, Err: err, Rollback: l.undoErr}
	if l.lock != nil { // an id that is taken is no failure yet
		l.m.log.Warn("launch failed", "bottle", l.plan.ID, "step", failed.Step, "error", err, "rollback", l.undoErr)
	}
	return l.shown(failed)
}

// end lets go of the bottle's lock: from here on others may use and remove it.
func (l *launch) end() {
	if err := l.lock.Unlock(); err != nil {
		l.m.log.Warn("the lock of a bottle cannot be released", "bottle", l.plan.ID, "error", err)
	}
	l.m.witness.poll(l.plan.ID, l.record.Created)
	l.m.log.Info("bottle launched", "bottle", l.plan.ID, "backend", l.plan.Backend, "expires", l.record.Expires)
}

// bottle is the launched bottle.
func (l *launch) bottle() *Bottle {
	b := bottleOf(l.record, l.detail)
	b.State = backend.Running
	b.Services = map[sidecars.Service]bool{}
	for _, svc := range l.plan.Services {
		b.Services[svc] = true
	}
	return &b
}

// existing answers a launch whose id is taken. It reports true when the id has
// become free meanwhile.
func (m *Manager) existing(ctx context.Context, plan *Plan) (*Bottle, bool, error) {
	taken := func(why string) error {
		return fmt.Errorf("bottle %s %s: %w", plan.ID, why, backend.ErrExists)
	}
	waiting, cancel := context.WithTimeout(ctx, otherLaunch)
	defer cancel()
	// Whoever launches or removes it holds the lock.
	lock, err := m.cfg.State.Lock(waiting, plan.ID)
	switch {
	case ctx.Err() != nil:
		if err == nil {
			err = lock.Unlock()
		}
		return nil, false, errors.Join(context.Cause(ctx), err)
	case errors.Is(err, backend.ErrNotFound):
		return nil, true, nil
	case errors.Is(err, state.ErrBusy):
		return nil, false, taken("is being launched or removed by another call; try again later")
	case err != nil:
		return nil, false, err
	}
	defer func() { _ = lock.Unlock() }()
	r, err := m.cfg.State.Read(plan.ID)
	switch {
	case err != nil:
		return nil, false, taken("has a damaged record; clean it up or choose another id")
	case r.Digest != plan.Digest || r.Principal != plan.resolved.principal:
		return nil, false, taken("was launched with other settings; use it as it is, choose another id, or clean it up first")
	case r.Phase != state.Ready:
		return nil, false, taken("was left behind by a launch that broke off; clean it up or choose another id")
	}
	b, err := m.find(ctx, r)
	if err != nil {
		return nil, false, err
	}
	if b.State != backend.Running {
		return nil, false, taken(fmt.Sprintf("is %s; clean it up or choose another id", b.State))
	}
	b.AlreadyRan = true
	return b, false, nil
}
