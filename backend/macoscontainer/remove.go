package macoscontainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
	"github.com/bottle-mcp/bottle-mcp/sidecars/pid1"
)

// Remove implements backend.Backend: the agent, the sidecar, the networks, then
// the files, so that whatever breaks off in between is found again. It deletes
// only what carries our labels and our names.
func (b *Backend) Remove(ctx context.Context, id backend.ID) error {
	if err := id.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, b.scaled(stopTimeout))
	defer cancel()
	b.seen.forget(id)
	foreign := false
	if _, err := b.readRecord(id); errors.Is(err, backend.ErrNotFound) {
		foreign = b.hasFiles(id) // another owner's
	}
	if !foreign {
		// Whatever the engine says next, no secret stays on the disk.
		if err := pid1.RemoveSecrets(filepath.Join(b.dir(id), sidecarDir)); err != nil {
			return fmt.Errorf("remove bottle %s: %w", id, err)
		}
	}
	if err := b.removeAll(ctx, id); err != nil {
		if unusable(err) && !b.hasFiles(id) {
			return nil
		}
		return fmt.Errorf("remove bottle %s: %w", id, err)
	}
	if foreign {
		return nil
	}
	b.unsettled.forget(id)
	return b.sweep(id)
}

// removeAll removes what the engine has of a bottle. When one of its commands
// was given up on, the engine may still be at work: it is asked until it has had
// the time to finish.
func (b *Backend) removeAll(ctx context.Context, id backend.ID) error {
	rounds := 1
	if b.unsettled.has(id) {
		rounds = settleRounds
	}
	for round := range rounds {
		if round > 0 {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(b.scaled(settleTime) / time.Duration(rounds)):
			}
		}
		all, err := b.survey(ctx)
		if err != nil {
			return err
		}
		if err := b.removeObjects(ctx, all[id]); err != nil {
			return err
		}
	}
	return nil
}

// How long, and in how many looks, an engine that was left alone may take to
// finish what it was asked for.
const (
	settleTime   = 3 * time.Second
	settleRounds = 3
)

// late reports whether the engine may still be doing what it was told.
func late(err error) bool {
	switch cli.KindOf(err) {
	case cli.KindTimeout, cli.KindKilled:
		return true
	default:
		return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	}
}

// idSet is a set of bottles. The zero value is empty.
type idSet struct {
	mu  sync.Mutex
	ids map[backend.ID]bool
}

func (s *idSet) add(id backend.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[backend.ID]bool{}
	}
	s.ids[id] = true
}

func (s *idSet) forget(id backend.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, id)
}

func (s *idSet) has(id backend.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}

// removeObjects deletes in order. One failure does not keep the next containers
// from being ended: a running guest is worse than a left-over network.
func (b *Backend) removeObjects(ctx context.Context, o objects) error {
	var errs []error
	for _, r := range []role{roleAgent, roleSidecar} {
		c, ok := o.containers[r]
		if !ok {
			continue
		}
		if c.State == "running" {
			// A sidecar writes down what is still in its hands. One that does
			// not stop is deleted all the same.
			if err := b.cli.Stop(ctx, cli.StopRequest{Container: c.ID, Grace: stopGrace}); err != nil {
				b.log.Debug("a container does not stop", "container", c.ID, "error", err)
			}
		}
		errs = append(errs, gone(b.cli.Delete(ctx, c.ID, true)))
	}
	for _, r := range []role{roleInternal, roleEgress} {
		if n, ok := o.networks[r]; ok {
			errs = append(errs, gone(b.cli.NetworkDelete(ctx, n.Name)))
		}
	}
	return errors.Join(errs...)
}

// stopGrace is longer than the sidecar's own for its daemons.
const stopGrace = 9 * time.Second

// gone takes "there is no such object" for success.
func gone(err error) error {
	var failed *cli.Error
	if errors.As(err, &failed) && failed.Kind == cli.KindNotFound {
		return nil
	}
	return err
}

// hasFiles reports whether a record lies there, whoever's.
func (b *Backend) hasFiles(id backend.ID) bool {
	_, err := os.Lstat(filepath.Join(b.dir(id), recordFile))
	return err == nil
}
