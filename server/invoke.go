package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/bottle-mcp/bottle-mcp/tools"
)

// handle runs one call: admission, validation, the tool, the check of its
// result. It never returns a Go error, whose text mcp-go would send.
func (t *published) handle(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	default:
		return mcp.NewToolResultErrorf("busy: %d calls of %s are running, which is the limit; nothing was done. Wait for one to end or cancel one, then repeat this call.",
			cap(t.slots), t.Name), nil
	}
	arguments, refusal := t.arguments(req.Params.RawArguments)
	if refusal != nil {
		return refusal, nil
	}
	if ctx.Err() != nil {
		return mcp.NewToolResultErrorf("%s was cancelled before it began; nothing was done.", t.Name), nil
	}
	return t.guard(t.run(ctx, arguments)), nil
}

// arguments validates; a refusal lists all that is wrong.
func (t *published) arguments(raw json.RawMessage) (json.RawMessage, *mcp.CallToolResult) {
	arguments, value, err := decodeArguments(raw)
	if err != nil {
		return nil, t.refuse([]string{err.Error()})
	}
	if problems := argumentProblems(t.input, value); len(problems) > 0 {
		return nil, t.refuse(problems)
	}
	return arguments, nil
}

func (t *published) refuse(problems []string) *mcp.CallToolResult {
	text := fmt.Sprintf("Invalid arguments for %s; nothing was done. ", t.Name)
	if len(problems) == 1 {
		text += problems[0] + "."
	} else {
		text += "Correct all of these:\n- " + strings.Join(problems, "\n- ")
	}
	return mcp.NewToolResultError(cleanText(text))
}

// run calls the tool. A panic becomes a result without its text, which may hold
// anything; the log has text and stack under the same id.
func (t *published) run(ctx context.Context, arguments json.RawMessage) (result *mcp.CallToolResult) {
	defer func() {
		if v := recover(); v != nil {
			result = t.server.internalError("panic in a tool",
				slog.String("tool", t.Name), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		}
	}()
	x := exchangeFromContext(ctx)
	who, _ := PrincipalFromContext(ctx)
	return t.Handle(ctx, tools.Call{
		Arguments:     arguments,
		Principal:     who,
		Progress:      x.progress.report,
		WantsProgress: x.progress != nil,
	})
}

// guard holds the tool to what it published: clients throw on a success that
// lacks structured content or breaks its schema.
func (t *published) guard(result *mcp.CallToolResult) *mcp.CallToolResult {
	if result == nil {
		return t.server.internalError("a tool returned no result", slog.String("tool", t.Name))
	}
	if err := t.checkStructured(result); err != nil {
		return t.server.internalError("a tool's result breaks its output schema", slog.String("tool", t.Name), slog.Any("error", err))
	}
	result.Content = cleanContent(result.Content)
	encoded, err := json.Marshal(result)
	if err != nil {
		return t.server.internalError("a tool's result cannot be encoded", slog.String("tool", t.Name), slog.Any("error", err))
	}
	if limit := t.server.limits.MaxResult; len(encoded) > limit {
		t.server.log.Warn("a tool's result is too large", slog.String("tool", t.Name), slog.Int("bytes", len(encoded)))
		return mcp.NewToolResultErrorf("The result of %s is %d bytes, more than the %d that can be returned; the work was done. Ask for less output.", t.Name, len(encoded), limit)
	}
	return result
}

func (t *published) checkStructured(result *mcp.CallToolResult) error {
	if t.output == nil || result.IsError {
		return nil
	}
	if result.StructuredContent == nil {
		return errors.New("structured content is missing")
	}
	raw, err := json.Marshal(result.StructuredContent)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	if err := t.output.Validate(value); err != nil {
		return err
	}
	result.RawStructuredContent = raw // encoded once
	return nil
}

// internalError logs a defect of ours and returns what a caller may know of it.
func (s *Server) internalError(what string, attrs ...slog.Attr) *mcp.CallToolResult {
	return mcp.NewToolResultError(s.defect(what, attrs...) + ": this is a defect of the server, not of the call; the operator finds it in the log under this id.")
}

// defect logs a defect under a new id and returns "internal error <id>".
func (s *Server) defect(what string, attrs ...slog.Attr) string {
	id := rand.Text()[:10]
	s.log.LogAttrs(context.Background(), slog.LevelError, what, append(attrs, slog.String("id", id))...)
	return "internal error " + id
}
