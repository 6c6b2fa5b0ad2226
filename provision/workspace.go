package provision

import (
	"context"
	"fmt"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

// promptFile is where the guest reads its task, in a directory of the agent's.
const promptFile = backend.AgentHome + "/.bottle/prompt.md"

// copyWorkspace copies what the survey chose of the workspace, also .git. The
// guest's side runs as the agent, who thereby owns it; so git trusts it.
func copyWorkspace(ctx context.Context, l *launch) (string, error) {
	if l.r.parent != nil {
		return copyCallersWorkspace(ctx, l)
	}
	root, err := l.r.workspace.open()
	if err != nil {
		return "", fmt.Errorf("open the workspace %s: %w", l.r.workspace, err)
	}
	defer func() { _ = root.Close() }()
	result, err := send(ctx, l.r.engine, l.plan.ID, transfer{
		source: archive.Source{Root: root, Name: l.r.workspace.rel}, guest: backend.GuestWorkspace,
		pack: l.r.survey.Pack(), limit: l.m.streamLimit(),
	})
	if err != nil {
		return "", fmt.Errorf("copy the workspace %s: %w", l.r.workspace, err)
	}
	return l.copied(result), nil
}

// copied notes what came of the workspace.
func (l *launch) copied(result CopyResult) string {
	l.detail.Copied = &result.CopyReport
	text := fmt.Sprintf("%d files, %d bytes", result.Files, result.Bytes)
	if n := len(result.Skipped) + result.SkippedMore; n > 0 {
		text += fmt.Sprintf(", %d left out", n)
	}
	return text
}
