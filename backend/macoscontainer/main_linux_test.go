package macoscontainer

import (
	"os"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
)

// TestMain runs the tests in a world of their own when the stand-in of Apple's
// container is asked for, and plainly otherwise.
func TestMain(m *testing.M) { os.Exit(world.TestMain(m.Run, world.Options{})) }
