package tools

import (
	"context"
	"encoding/json"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bottle-mcp/bottle-mcp/provision"
)

// Tool is one tool as data plus its handler. The server publishes it as it is.
type Tool struct {
	Name        string
	Title       string
	Description string
	Annotations mcp.ToolAnnotation
	// InputSchema and OutputSchema are JSON Schema objects (type "object" at
	// the root). The server validates arguments against InputSchema before
	// Handle runs.
	InputSchema  json.RawMessage
	OutputSchema json.RawMessage
	// Handle never returns nil and has no error: what the model can act on is
	// a result with IsError set.
	Handle func(ctx context.Context, call Call) *mcp.CallToolResult
}

// Call is one call of a tool.
type Call struct {
	// Arguments is the raw JSON object; it has passed InputSchema.
	Arguments json.RawMessage
	Principal provision.Principal
	// Progress reports progress to the caller; never nil. It is cheap, never
	// blocks for long and does nothing when WantsProgress is false.
	Progress func(Progress)
	// WantsProgress is true when the caller sent a progress token.
	WantsProgress bool
}

// Progress is one progress notification. Total 0 means unknown. Current must
// not decrease during a call.
type Progress struct {
	Current float64
	Total   float64
	Message string
}

// ResourceTemplate is a family of resources, such as bottle://{id}/log.
type ResourceTemplate struct {
	URITemplate string
	Name        string
	Title       string
	Description string
	MIMEType    string
	// Read returns the resource; an error wrapping ErrNoResource becomes
	// "resource not found".
	Read func(ctx context.Context, who provision.Principal, uri string) ([]mcp.ResourceContents, error)
}
