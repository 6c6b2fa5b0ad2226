package provision

import "github.com/bottle-mcp/bottle-mcp/backend"

// CopyOptions refine a copy.
type CopyOptions struct {
	User string // guest user that owns what is copied in; "" = the agent
	// Mode of a file written by WriteFile; 0 = 0644.
	Mode uint32
	// Exclude holds slash patterns (path.Match on the relative path and on the
	// base name) to leave out.
	Exclude []string
}

// CopyResult is the outcome of a copy.
type CopyResult struct {
	backend.CopyReport
	// SHA256 is the hex digest of the content when exactly one file was
	// copied, else "".
	SHA256 string `json:"sha256,omitempty"`
}
