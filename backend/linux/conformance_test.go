//go:build linux

package linux

import (
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend/backendtest"
)

// TestConformance runs the suite every backend passes. It runs as root and as
// an ordinary user; what differs is in Capabilities.
func TestConformance(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backendtest.Bed {
		dir := t.TempDir()
		owner := "conformance-" + dir
		return backendtest.Bed{Backend: New(Config{BottlesDir: dir, Owner: owner}), Owner: owner}
	})
}
