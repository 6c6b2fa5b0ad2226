package macoscontainer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// proofAge is how long a look at the engine counts. Within it a restarted guest
// could be taken for the tested one; the next command notices.
const proofAge = 10 * time.Second

// proofs remembers when a bottle was last found as it was tested.
type proofs struct {
	mu   sync.Mutex
	when map[proven]time.Time
}

// proven is a bottle and which start of its guest. Another server may remove a
// bottle and launch another of its id.
type proven struct {
	id      backend.ID
	started int64
}

func provenOf(r record) proven { return proven{r.ID, r.AgentStarted.Unix()} }

func (p *proofs) fresh(id proven, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.when[id]
	return ok && now.Sub(at) < proofAge
}

func (p *proofs) note(id proven, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.when == nil {
		p.when = map[proven]time.Time{}
	}
	for old, at := range p.when {
		if now.Sub(at) >= proofAge {
			delete(p.when, old)
		}
	}
	p.when[id] = now
}

func (p *proofs) forget(id backend.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.when {
		if key.id == id {
			delete(p.when, key)
		}
	}
}

// prove refuses a bottle that is not the one whose isolation was tested: the
// engine's service was restarted, a guest started again, an address changed.
func (b *Backend) prove(ctx context.Context, r record) error {
	if r.AgentStarted.IsZero() {
		// Its agent is being started, by whoever calls this.
		return b.agentRuns(ctx, r.ID)
	}
	if b.seen.fresh(provenOf(r), time.Now()) {
		return nil
	}
	return b.proveNow(ctx, r.ID)
}

// proveNow looks at the engine.
func (b *Backend) proveNow(ctx context.Context, id backend.ID) error {
	r, err := b.readRecord(id)
	if err != nil {
		return err
	}
	all, err := b.surveyContainers(ctx)
	if err != nil {
		return err
	}
	o := all[id]
	agent, ok := o.containers[roleAgent]
	switch {
	case !ok || agent.State != "running":
		return fmt.Errorf("its guest has ended: %w", backend.ErrNotRunning)
	case !same(agent.Started, r.AgentStarted):
		return fmt.Errorf("its guest was started again after its isolation was tested; clean the bottle up and launch another: %w", backend.ErrNotRunning)
	case !r.SidecarStarted.IsZero() && o.containers[roleSidecar].State == "running" && !o.sidecarUnchanged(r):
		return fmt.Errorf("its sidecar was started again or moved to another address; clean the bottle up and launch another: %w", backend.ErrNotRunning)
	}
	b.seen.note(provenOf(r), time.Now())
	return nil
}

// agentRuns reports whether there is an agent at all.
func (b *Backend) agentRuns(ctx context.Context, id backend.ID) error {
	c, err := b.cli.Inspect(ctx, roleAgent.name(id))
	if err != nil || c.State != "running" {
		return fmt.Errorf("it has no running guest: %w", backend.ErrNotRunning)
	}
	return nil
}
