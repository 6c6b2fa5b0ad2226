// Package drive starts a bottle-mcp binary as an MCP host would and calls its
// tools over stdio, or over HTTP at an endpoint, for evaluations and benchmarks.
// It knows the product's public surface only.
package drive

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/mcp"
)

// Host is a running server and the session with it.
type Host struct{ c *client.Client }

// Start runs binary with "serve" and args, in the environment env on top of
// this process's, and initialises a session.
func Start(ctx context.Context, binary string, env []string, args ...string) (*Host, error) {
	c, err := client.NewStdioMCPClient(binary, append(os.Environ(), env...), append([]string{"serve"}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("start %s serve: %w", binary, err)
	}
	return begin(ctx, c)
}

// Connect opens a session with a server over HTTP, through whatever proxy the
// environment asks for.
func Connect(ctx context.Context, url string) (*Host, error) {
	c, err := client.NewStreamableHttpClient(url)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	return begin(ctx, c)
}

// begin opens the session of a client, or closes it.
func begin(ctx context.Context, c *client.Client) (*Host, error) {
	req := mcp.InitializeRequest{}
	req.Params.ProtocolVersion = mcp.LATEST_PROTOCOL_VERSION
	req.Params.ClientInfo = mcp.Implementation{Name: "bottle-evals", Version: "1"}
	if _, err := c.Initialize(ctx, req); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("initialise the session: %w", err)
	}
	return &Host{c: c}, nil
}

// Tools are the names of what the server publishes.
func (h *Host) Tools(ctx context.Context) ([]string, error) {
	list, err := h.c.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil {
		return nil, fmt.Errorf("list the tools: %w", err)
	}
	var names []string
	for _, t := range list.Tools {
		names = append(names, t.Name)
	}
	return names, nil
}

// Close ends the session and the server.
func (h *Host) Close() error { return h.c.Close() }

// ToolError is a tool's own refusal or failure.
type ToolError struct{ Tool, Text string }

func (e *ToolError) Error() string { return e.Tool + ": " + e.Text }

// Call calls a tool and decodes its structured result into out, which may be
// nil. A result marked as an error is a *ToolError.
func (h *Host) Call(ctx context.Context, tool string, args map[string]any, out any) error {
	req := mcp.CallToolRequest{}
	req.Params.Name = tool
	req.Params.Arguments = args
	res, err := h.c.CallTool(ctx, req)
	if err != nil {
		return fmt.Errorf("call %s: %w", tool, err)
	}
	if res.IsError {
		return &ToolError{Tool: tool, Text: text(res)}
	}
	if out == nil {
		return nil
	}
	data, err := json.Marshal(res.StructuredContent)
	if err == nil {
		err = json.Unmarshal(data, out)
	}
	if err != nil {
		return fmt.Errorf("decode the result of %s: %w", tool, err)
	}
	return nil
}

func text(res *mcp.CallToolResult) string {
	for _, c := range res.Content {
		if t, ok := c.(mcp.TextContent); ok {
			return t.Text
		}
	}
	return "no text"
}

// Exec is the part of exec's result that evaluations look at.
type Exec struct {
	ExitCode       int    `json:"exit_code"`
	Stdout         string `json:"stdout"`
	Stderr         string `json:"stderr"`
	EgressRefusals []struct {
		Host     string `json:"host"`
		Reason   string `json:"reason"`
		HowToAsk string `json:"how_to_ask"`
	} `json:"egress_refusals"`
}

// Launch is the part of launch's result that evaluations look at.
type Launch struct {
	ID     string `json:"id"`
	State  string `json:"state"`
	Report struct {
		Passed int `json:"passed"`
		Failed int `json:"failed"`
	} `json:"report"`
	Steps []struct {
		Step      string  `json:"step"`
		ElapsedMS float64 `json:"elapsed_ms"`
	} `json:"steps"`
}

// Step is how long a launch step took.
func (l Launch) Step(name string) time.Duration {
	for _, s := range l.Steps {
		if s.Step == name {
			return time.Duration(s.ElapsedMS * float64(time.Millisecond))
		}
	}
	return 0
}
