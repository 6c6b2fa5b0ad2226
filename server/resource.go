package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bottle-mcp/bottle-mcp/tools"
)

// codeBusy is from JSON-RPC's range for servers; MCP gives no code for it.
const codeBusy = -32000

// resourceHandler reads a resource for mcp-go. mcp-go answers every error with
// the code of an internal one, so the fault travels in the exchange instead.
func (s *Server) resourceHandler(r tools.ResourceTemplate) func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
	return func(ctx context.Context, req mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
		contents, failed := s.readResource(ctx, r, req.Params.URI)
		if failed != nil {
			exchangeFromContext(ctx).failed = failed
			return nil, failed
		}
		return contents, nil
	}
}

func (s *Server) readResource(ctx context.Context, r tools.ResourceTemplate, uri string) (contents []mcp.ResourceContents, failed *fault) {
	select {
	case s.reads <- struct{}{}:
		defer func() { <-s.reads }()
	default:
		return nil, &fault{code: codeBusy, text: fmt.Sprintf("busy: %d resources are being read, which is the limit; repeat this later", cap(s.reads))}
	}
	defer func() {
		if v := recover(); v != nil {
			failed = &fault{code: mcp.INTERNAL_ERROR, text: s.defect("panic in a resource",
				slog.String("uri", uri), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))}
		}
	}()
	who, _ := PrincipalFromContext(ctx)
	contents, err := r.Read(ctx, who, uri)
	switch {
	case err == nil:
		return contents, nil
	case errors.Is(err, tools.ErrNoResource):
		return nil, &fault{code: mcp.RESOURCE_NOT_FOUND, text: fmt.Sprintf("resource not found: %s", clip(cleanText(uri)))}
	default:
		return nil, &fault{code: mcp.INTERNAL_ERROR, text: s.defect("a resource cannot be read",
			slog.String("uri", uri), slog.Any("error", err))}
	}
}
