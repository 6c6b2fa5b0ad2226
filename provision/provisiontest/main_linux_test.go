package provisiontest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/sidecars/egress/egresstest"
)

// init keeps the main goroutine on the main thread, as it is where the product
// starts these processes: what /proc says of a process it says of that thread.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // see above

// TestMain makes the test program what the linux backend starts, and runs the
// tests in a world of their own when the stand-in is asked for.
func TestMain(m *testing.M) {
	args := os.Args[1:]
	if handled, code := linux.Hidden(args); handled {
		os.Exit(code)
	}
	if handled, code := Hidden(args, os.Stdin, os.Stdout); handled {
		os.Exit(code)
	}
	if len(args) == 2 && args[0] == "fetch" {
		os.Exit(fetch(args[1]))
	}
	if len(args) == 1 && args[0] == "drive" {
		os.Exit(drive(os.Stdin, os.Stdout))
	}
	if len(args) == 1 && args[0] == redTeamVerb {
		os.Exit(egresstest.ProbeMain(context.Background(), os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(world.TestMain(m.Run, world.Options{}))
}

// redTeamVerb makes the test program the red team's probe.
const redTeamVerb = "redteam"

// fetch is a Go program with net/http as it comes.
func fetch(url string) int {
	client := &http.Client{Timeout: 20 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer res.Body.Close()
	_, err = io.Copy(os.Stdout, res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return 1
	}
	return 0
}
