package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

// newBackends is the table of the backends of this build, in the order that
// people see them. None of them touches anything before it is asked.
func newBackends(bottlesDir, owner string, log *slog.Logger) []backend.Backend {
	return []backend.Backend{
		linux.New(linux.Config{BottlesDir: bottlesDir, Owner: owner, Logger: log}),
	}
}

// connect opens the state and builds the manager on it.
func connect(_ context.Context, where paths, w wiring, log *slog.Logger) (tools.Bottles, error) {
	store, err := state.Open(where.stateDir)
	if err != nil {
		return nil, withHint(fmt.Errorf("no state directory: %w", err), "name another one with --state-dir")
	}
	manager, err := provision.NewManager(provision.Config{
		Backends:       newBackends(store.BottlesDir(), store.Owner(), log),
		Backend:        w.backend,
		State:          store,
		ManifestHome:   where.manifests,
		WorkspaceRoots: w.roots,
		LookupEnv:      os.LookupEnv,
		Logger:         log,
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return manager, nil
}
