package tools

import (
	"context"
	"errors"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"
)

// definition is the part of a tool that is data.
type definition struct {
	name, title, description string
	readOnly, destructive    bool
	idempotent, openWorld    bool
}

// request is a call as handlers see it: decoded, with its progress.
type request struct {
	Call
	progress *progress
}

// reply is what a handler has to say.
type reply struct {
	structured any
	text       string
	links      []mcp.ResourceLink
	failed     bool // every part of the work failed; structured says how
}

// handler does the work of a tool. A returned error becomes a result in
// errorResult and nowhere else.
type handler[In any] func(ctx context.Context, req *request, in In) (*reply, error)

// define joins a definition, the schemas of its types and its handler.
func define[In, Out any](t *toolset, d definition, handle handler[In]) (Tool, error) {
	input, err := inputSchema[In]()
	if err != nil {
		return Tool{}, fmt.Errorf("tool %s: input schema: %w", d.name, err)
	}
	output, err := outputSchema[Out]()
	if err != nil {
		return Tool{}, fmt.Errorf("tool %s: output schema: %w", d.name, err)
	}
	return Tool{
		Name:        d.name,
		Title:       d.title,
		Description: d.description,
		Annotations: mcp.ToolAnnotation{
			Title:           d.title,
			ReadOnlyHint:    mcp.ToBoolPtr(d.readOnly),
			DestructiveHint: mcp.ToBoolPtr(d.destructive),
			IdempotentHint:  mcp.ToBoolPtr(d.idempotent),
			OpenWorldHint:   mcp.ToBoolPtr(d.openWorld),
		},
		InputSchema:  input,
		OutputSchema: output,
		Handle: func(ctx context.Context, call Call) *mcp.CallToolResult {
			return serve(t, d.name, handle)(ctx, call)
		},
	}, nil
}

// serve decodes, runs the handler under a heartbeat and renders its outcome.
func serve[In any](t *toolset, name string, handle handler[In]) func(context.Context, Call) *mcp.CallToolResult {
	return func(ctx context.Context, call Call) *mcp.CallToolResult {
		in, err := decode[In](call.Arguments)
		if err != nil {
			return t.errorResult(name, call, err)
		}
		p := newProgress(call, t.limits.Heartbeat)
		defer p.stop()
		r, err := handle(ctx, &request{Call: call, progress: p}, in)
		if err != nil {
			// An engine may answer a cancelled call with the cause alone.
			if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
				err = fmt.Errorf("%w: %w", err, ended)
			}
			return t.errorResult(name, call, err)
		}
		return r.result()
	}
}

func (r *reply) result() *mcp.CallToolResult {
	content := []mcp.Content{mcp.NewTextContent(r.text)}
	for _, link := range r.links {
		content = append(content, link)
	}
	return &mcp.CallToolResult{Content: content, StructuredContent: r.structured, IsError: r.failed}
}
