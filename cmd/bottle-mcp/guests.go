package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/server"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

// toolbox is the tools of this process: the operator's server and those of
// bottles share their jobs. It is built when the first of them needs it.
type toolbox struct {
	log     *slog.Logger
	bottles tools.Bottles // set before anything is served
	counts  instrument    // nil = nobody counts calls

	mu        sync.Mutex
	list      []tools.Tool
	resources []tools.ResourceTemplate
	jobs      io.Closer // nil = not built yet
}

// instrument counts the calls of tools.
type instrument interface {
	Instrument(list []tools.Tool) []tools.Tool
}

// open builds the tools, once.
func (b *toolbox) open() ([]tools.Tool, []tools.ResourceTemplate, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.jobs == nil {
		list, resources, jobs, err := tools.New(tools.Config{Bottles: b.bottles, Logger: b.log})
		if err != nil {
			return nil, nil, fmt.Errorf("the tools cannot be built: %w", err)
		}
		if b.counts != nil {
			list = b.counts.Instrument(list)
		}
		b.list, b.resources, b.jobs = list, resources, jobs
	}
	return b.list, b.resources, nil
}

// serve answers the calls of one bottle. Each has a server of its own, so that
// none can use up what another needs.
func (b *toolbox) serve(ctx context.Context, e provision.GuestEndpoint) error {
	list, resources, err := b.open()
	if err != nil {
		return err
	}
	s, err := server.New(server.Config{
		Name: "bottle-mcp", Version: readVersion().Version, Instructions: server.BottleInstructions,
		Tools: list, Resources: resources, Limits: server.BottleLimits(), Logger: b.log.With("caller", e.Bottle),
	})
	if err != nil {
		return err
	}
	return s.ServeBottle(ctx, server.BottleConfig{Listener: e.Listener, Bottle: e.Bottle, Token: e.Token})
}

// close ends what still runs in the background.
func (b *toolbox) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.jobs == nil {
		return nil
	}
	if err := b.jobs.Close(); err != nil {
		return fmt.Errorf("background jobs did not end: %w", err)
	}
	return nil
}

// guestServer serves bottles whose own server has gone, and stops serving at the
// end. A fake of tests is none.
type guestServer interface {
	ServeGuests(ctx context.Context)
	Close() error
}

// close ends what bottles have here, and jobs.
func (a *app) close() error {
	var err error
	if m, ok := a.bottles.(guestServer); ok {
		err = m.Close()
	}
	return errors.Join(err, a.tools.close())
}

// end is close for verbs whose outcome is another.
func (a *app) end() {
	if err := a.close(); err != nil {
		a.log.Warn("something goes on behind the command", "error", err)
	}
}
