package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// process is one process of this host; start tells it from a later one that
// got the same number.
type process struct {
	pid   int
	start uint64
	name  string
}

// leftoverFinder looks for what a bottle holds on this host, without asking
// the code that is to remove it.
type leftoverFinder struct {
	stateDir string
	id       backend.ID
}

// directories are the state directories of the bottle that exist.
func (f leftoverFinder) directories() []string {
	if f.id == "" {
		return nil
	}
	found, _ := filepath.Glob(filepath.Join(f.stateDir, "*", string(f.id)+"*")) // the pattern is well formed
	return found
}

// cleanup removes the bottle and proves that nothing is left. It runs after a
// failed launch too: the rollback has to leave nothing either.
func (p *probe) cleanup(ctx context.Context) {
	if p.leftovers.id == "" || p.bottle != nil && p.o.keep {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeCleanTime)
	defer cancel()
	p.rec.section("cleanup", func(s *probeSection) {
		if p.bottle != nil {
			p.bar.show("removing " + string(p.bottle.ID))
			s.check("removed", func() (string, error) { return p.removed(ctx) })
		}
		s.check("no process", func() (string, error) {
			// Without this a finder that sees nothing would prove nothing.
			if p.bottle != nil && p.leftovers.seesProcesses() && len(p.family) == 0 {
				return "", errors.New("no process was seen while the bottle ran, so their absence proves nothing")
			}
			return ended(p.family, append(p.leftovers.processes(), alive(p.family)...))
		})
		s.check("no mount", func() (string, error) { return nothing(p.leftovers.mounts()) })
		s.check("no cgroup", func() (string, error) { return nothing(p.leftovers.cgroups()) })
		s.check("no directory", func() (string, error) { return nothing(p.leftovers.directories()) })
		s.check("not listed", func() (string, error) { return "", p.unlisted(ctx) })
	})
}

// removed is an error unless cleanup says that the bottle is gone.
func (p *probe) removed(ctx context.Context) (string, error) {
	items, err := p.bottles.Cleanup(ctx, provision.CleanupRequest{
		IDs: []backend.ID{p.bottle.ID}, Principal: operator,
	}, p.bar.event)
	if err != nil {
		return "", err
	}
	for _, item := range items {
		if item.ID == p.bottle.ID && item.Done {
			return string(item.ID), nil
		}
	}
	return "", fmt.Errorf("cleanup did not remove %s: %v", p.bottle.ID, items)
}

// unlisted is an error when the bottle is still listed.
func (p *probe) unlisted(ctx context.Context) error {
	bottles, err := p.bottles.List(ctx, operator)
	if err != nil {
		return err
	}
	for _, b := range bottles {
		if b.ID == p.leftovers.id {
			return fmt.Errorf("%s is listed as %s", b.ID, b.State)
		}
	}
	return nil
}

// ended is an error naming the processes left.
func ended(before, left []process) (string, error) {
	if len(left) == 0 {
		return fmt.Sprintf("%d ended", len(before)), nil
	}
	var names []string
	for _, p := range left {
		names = append(names, fmt.Sprintf("%s (pid %d)", p.name, p.pid))
	}
	return "", fmt.Errorf("left: %s", strings.Join(names, ", "))
}

// nothing is an error naming what is left.
func nothing(left []string) (string, error) {
	if len(left) == 0 {
		return "", nil
	}
	return "", fmt.Errorf("left: %s", strings.Join(left, ", "))
}
