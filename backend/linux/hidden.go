//go:build linux

package linux

import (
	"slices"

	"github.com/bottle-mcp/bottle-mcp/backend/linux/daemon"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/verbs"
)

// Hidden runs the part of a bottle that args (the program's arguments without
// its name) ask for, if they do. Every program that uses this backend must
// call it first in main, tests included: the backend starts the program itself
// as a bottle's shim, as PID 1 in it and as its sidecar. A program may serve
// some of them earlier, see package verbs.
func Hidden(args []string) (handled bool, code int) {
	if slices.Equal(args, []string{"sidecar", "serve"}) {
		return true, daemon.Main()
	}
	return verbs.Run(args)
}
