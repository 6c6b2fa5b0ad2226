package provision

import (
	"context"
	"io"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// The sidecar writes its log from a queue, so a refusal may be logged a moment
// after the command that met it has ended.
const (
	logGrace = 10 * time.Millisecond
	logPoll  = 2 * time.Millisecond
)

// Exec runs a command in a bottle that was handed over, and adds what the
// egress proxy refused meanwhile.
func (m *Manager) Exec(ctx context.Context, who Principal, id backend.ID, cmd backend.Command, streams backend.Streams) (ExecResult, error) {
	engine, err := m.usable(who, id)
	if err != nil {
		return ExecResult{}, err
	}
	before := m.decisions.size(id)
	start := time.Now()
	status, err := engine.Exec(ctx, id, cmd, streams)
	result := ExecResult{Status: status, Duration: time.Since(start)}
	if status.Code != 0 && err == nil {
		result.Refusals = m.lateRefusals(ctx, id, before)
	} else {
		result.Refusals = m.decisions.refusedSince(id, before)
	}
	return result, err
}

// lateRefusals waits a little for the log when a command failed: it may have
// failed by a refusal.
func (m *Manager) lateRefusals(ctx context.Context, id backend.ID, before int64) []sidecars.Decision {
	deadline := time.Now().Add(logGrace)
	for {
		found := m.decisions.refusedSince(id, before)
		if len(found) > 0 || time.Now().After(deadline) {
			return found
		}
		select {
		case <-ctx.Done():
			return found
		case <-time.After(logPoll):
		}
	}
}

// OutputFile opens a new private file in the bottle's state for a command's
// full output. It goes with the bottle.
func (m *Manager) OutputFile(_ context.Context, who Principal, id backend.ID) (name string, w io.WriteCloser, err error) {
	if _, err := m.usable(who, id); err != nil {
		return "", nil, err
	}
	name, f, err := m.cfg.State.CreateOutput(id)
	if err != nil {
		return "", nil, err
	}
	return name, f, nil
}

// OpenOutput reads back a file made by OutputFile.
func (m *Manager) OpenOutput(_ context.Context, who Principal, id backend.ID, name string) (io.ReadSeekCloser, error) {
	if _, err := m.record(who, id); err != nil {
		return nil, err
	}
	f, err := m.cfg.State.OpenOutput(id, name)
	if err != nil {
		return nil, err
	}
	return f, nil
}
