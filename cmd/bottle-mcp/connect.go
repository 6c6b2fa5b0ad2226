package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

// newBackends is the table of the backends of this build, in the order that
// people see them. None of them touches anything before it is asked. One that
// serves for long may start a bottle ahead.
func newBackends(bottlesDir, owner string, longLived bool, log *slog.Logger) []backend.Backend {
	return []backend.Backend{
		linux.New(linux.Config{BottlesDir: bottlesDir, Owner: owner, Logger: log, Spare: longLived}),
		macoscontainer.New(macoscontainer.Config{BottlesDir: bottlesDir, Owner: owner, Logger: log}),
	}
}

// envCanary names the address on the Internet that guests with a network must
// fail to reach.
const envCanary = "BOTTLE_MCP_CANARY"

// canary is the operator's choice of one, "" when there is none.
func canary() (string, error) {
	value := os.Getenv(envCanary)
	if value == "" {
		return "", nil
	}
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Zone() != "" {
		return "", withHint(fmt.Errorf("%s is %.60q, which is not an IP address", envCanary, value), "unset it for the default, or name an address that answers on the Internet")
	}
	return value, nil
}

// connect opens the state and builds the manager on it.
func connect(ctx context.Context, where paths, w wiring, log *slog.Logger) (tools.Bottles, error) {
	target, err := canary()
	if err != nil {
		return nil, err
	}
	store, err := state.Open(where.stateDir)
	if err != nil {
		return nil, withHint(fmt.Errorf("no state directory: %w", err), "name another one with --state-dir")
	}
	backends := newBackends(store.BottlesDir(), store.Owner(), w.longLived, log)
	manager, err := provision.NewManager(provision.Config{
		Backends:       backends,
		Backend:        w.backend,
		State:          store,
		ManifestHome:   where.manifests,
		WorkspaceRoots: w.roots,
		LookupEnv:      os.LookupEnv,
		Logger:         log,
		Canary:         target,
		CopySecrets:    w.copying.secrets,
		MergeBottles:   w.merge,
		Ledger:         w.recording.policy(),
		Observer:       w.observer,
		ServeGuest:     w.guests,
		MaxWorkspace:   int64(w.copying.max),
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	if w.longLived {
		go func() {
			settle(ctx, manager, backends, log)
			endAbandoned(ctx, manager, log)
		}()
		go manager.Watch(ctx)
	}
	return manager, nil
}

const (
	// reconcileTime bounds the work on what others left.
	reconcileTime = 5 * time.Minute
	// abandonedEvery is how often a server looks for bottles whose parent has ended.
	abandonedEvery = 20 * time.Second
)

// settle finishes what servers that died left half done, and has the backends
// look at this host before the first launch asks.
func settle(ctx context.Context, manager *provision.Manager, backends []backend.Backend, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, reconcileTime)
	defer cancel()
	for _, b := range backends {
		if _, err := b.Check(ctx); err != nil {
			log.Info("a backend is not available", "backend", b.Name(), "reason", err)
		}
	}
	items, err := manager.Reconcile(ctx)
	for _, i := range items {
		log.Info("finished what a server that died left half done", "bottle", i.ID, "action", i.Action, "done", i.Done, "reason", i.Reason)
	}
	if err != nil && ctx.Err() == nil {
		log.Warn("half-done bottles could not be looked for; run 'bottle-mcp cleanup --orphans'", "error", err)
	}
}

// endAbandoned ends bottles whose parent has ended by itself, as long as the server
// runs. Beside it they end with the time that their parent had.
func endAbandoned(ctx context.Context, manager *provision.Manager, log *slog.Logger) {
	tick := time.NewTicker(abandonedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		timed, cancel := context.WithTimeout(ctx, reconcileTime)
		items, err := manager.EndAbandoned(timed)
		cancel()
		for _, i := range items {
			log.Info("the parent of a bottle has ended", "bottle", i.ID, "action", i.Action, "done", i.Done, "reason", i.Reason)
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("bottles whose parent has ended could not be looked for", "error", err)
		}
	}
}
