package pid1

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Run runs the process of a sidecar that args (the program's arguments without
// its name) ask for, if they do, and returns its exit code. The program calls
// it in main: the init starts the program itself as its daemons.
func Run(args []string, stdout, stderr io.Writer) (handled bool, code int) {
	if len(args) < 2 || args[0] != "sidecar" {
		return false, 0
	}
	switch args[1] {
	case "init":
		o, err := parseOptions(args[2:], os.LookupEnv, stderr)
		if err != nil {
			_, _ = fmt.Fprintln(stderr, "init: sidecar init:", printable(err.Error()))
			return true, exitUsage
		}
		return true, newMachine(o).run()
	case "ready":
		return true, runReady(args[2:], stdout, stderr)
	case "reload":
		return true, runReload(args[2:], stdout, stderr)
	case "daemon":
		if len(args) == 3 && slices.Contains(served(), sidecars.Service(args[2])) {
			return true, runDaemon(sidecars.Service(args[2]))
		}
	}
	return false, 0
}
