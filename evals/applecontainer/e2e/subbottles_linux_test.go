package e2e

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/subbottles"
)

// supervisor is the program for guests.
var supervisor = sync.OnceValues(func() (string, error) { return build("evals/subbottles/supervisor") })

// TestSubBottles is a supervisor in a bottle with three of its own, in both
// topologies.
func TestSubBottles(t *testing.T) {
	program, err := supervisor()
	if err != nil {
		t.Fatal(err)
	}
	for _, topology := range []string{"two-network", "socket"} {
		t.Run(topology, func(t *testing.T) {
			m := newMac(t, map[string]string{"BOTTLE_MCP_MACOS_TOPOLOGY": topology})
			before := m.world.Engine(t)
			subbottles.Run(t, subbottles.Bed{
				Binary: m.binary, Supervisor: program, Env: m.env(), Home: m.home,
				StateDir: filepath.Join(m.home, "state", "bottle-mcp"), CallTime: 10 * time.Minute,
			})
			// Images and what the engine keeps for itself stay.
			for _, left := range m.world.Engine(t).Since(before) {
				if strings.HasPrefix(left, "container ") || strings.Contains(left, "bot-bottle") {
					t.Errorf("left behind: %s", left)
				}
			}
		})
	}
}
