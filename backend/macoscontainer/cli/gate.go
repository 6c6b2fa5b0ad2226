package cli

import (
	"context"

	"github.com/bottle-mcp/bottle-mcp/backend/command"
)

// How many calls of a kind may run at a time. The daemon has one lock for the
// creation, boot, start and exit of all containers: more of ours at its door
// only use up their deadlines there, and keep others' from getting in.
const (
	maxBoots     = 1
	maxMutations = 2
	// maxBuilds keeps a builder's restart from ending a build: another
	// resolver means another builder.
	maxBuilds = 1
)

// gate lets a number of calls in at a time. A nil gate is open.
type gate chan struct{}

type gates struct{ boot, mutation, build gate }

func newGates() gates {
	return gates{boot: make(gate, maxBoots), mutation: make(gate, maxMutations), build: make(gate, maxBuilds)}
}

// enter waits for a place. A call's own deadline begins behind the gate.
func (g gate) enter(ctx context.Context) (leave func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	select {
	case g <- struct{}{}:
		return func() { <-g }, nil
	case <-ctx.Done():
		return nil, command.Ended(ctx)
	}
}
