package tools

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// ErrNoResource means that a URI names no resource, or none that the caller
// may see.
var ErrNoResource = errors.New("no such resource")

// maxErrorText bounds what a model reads about an error; hosts cut error texts
// at about 11,000 characters.
const maxErrorText = 4000

// errorResult turns any error into a result that says what failed and what to
// do next. Every tool error goes through here.
func (t *toolset) errorResult(tool string, call Call, err error) *mcp.CallToolResult {
	t.log.Info("tool failed", "tool", tool, "principal", call.Principal.Kind, "bottle", call.Principal.Bottle, "err", err)
	var out text
	out.line("%s failed: %s", tool, cleanError(err))
	out.line("Next: %s", nextStep(err))
	return mcp.NewToolResultError(out.String())
}

// cleanError is the text of err; engines and guests had a say in it.
func cleanError(err error) string {
	text, used := cleanPrefix([]byte(err.Error()), maxErrorText, false)
	if used < len(err.Error()) {
		text += "…"
	}
	return strings.TrimRight(text, "\n")
}

const doctorStep = "only the operator of this host can change that; 'bottle-mcp doctor' on the host says what works and how to fix the rest. Tell the user"

// nextStep says what the caller of a tool can do about err.
func nextStep(err error) string {
	if next := requestStep(err); next != "" {
		return next
	}
	var (
		isolation   *provision.IsolationError
		selection   *backend.SelectionError
		unavailable *backend.UnavailableError
		step        *provision.StepError
	)
	switch {
	case errors.As(err, &isolation):
		return "do not launch again with the same settings: the bottle would not have been isolated. Tell the user to run 'bottle-mcp doctor' on the host."
	case errors.Is(err, context.Canceled):
		return "the call was cancelled and what it had begun was ended or undone; call list to see what is left."
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long; call list to see the state, then try again. If it stays, the host may be overloaded: tell the user."
	case errors.As(err, &selection):
		return doctorStep + "."
	case errors.As(err, &unavailable):
		if unavailable.Fix != "" {
			return doctorStep + " this: " + cleanLine(unavailable.Fix, 500)
		}
		return doctorStep + "."
	case errors.Is(err, errShutdown):
		return "the server is stopping; call again after it has been started."
	case errors.Is(err, errStdinClosed):
		return "start the job again with keep_stdin true, or give all of stdin at the start."
	case errors.Is(err, syscall.ENOSPC):
		return "the disk is full: free space in the bottle, or remove bottles you no longer need with cleanup; else tell the user."
	case errors.As(err, &step):
		return "everything begun was removed unless the text says otherwise; correct what it names and launch again, or tell the user."
	default:
		return "read the reason above; if the same call fails again, tell the user."
	}
}

// requestStep answers errors that lie in the request.
func requestStep(err error) string {
	var (
		argument *argumentError
		plan     *provision.PlanError
		invalid  *provision.InvalidError
	)
	switch {
	case errors.As(err, &argument):
		return "correct the arguments and call again."
	case errors.As(err, &plan), errors.As(err, &invalid):
		return "correct what is named above and call again. Where the operator's manifest forbids it, no tool can allow it: tell the user what you need and why."
	case errors.Is(err, backend.ErrNotFound):
		return "call list to see the bottles you may use, or launch one."
	case errors.Is(err, backend.ErrNotRunning):
		return "its guest has ended; cleanup this id, then launch again."
	case errors.Is(err, backend.ErrExists):
		return "the id is taken by a bottle with other settings: use that bottle, choose another id, or cleanup the id first."
	case errors.Is(err, fs.ErrNotExist):
		return "check the path; relative guest paths begin in the workspace, and exec can list a directory."
	case errors.Is(err, fs.ErrPermission):
		return "that path may not be used; choose another, or another user of the guest."
	default:
		return ""
	}
}
