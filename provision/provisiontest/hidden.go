package provisiontest

import (
	"context"
	"os"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
	"github.com/bottle-mcp/bottle-mcp/provision/trust"
)

// Hidden runs what a launch starts of this program inside a guest, where args ask
// for it. A test program calls it first in its TestMain, after the engine's own,
// and ends with the code, on the main thread.
func Hidden(args []string, stdin, stdout *os.File) (handled bool, code int) {
	switch {
	case slices.Equal(args, []string{"guest", "selftest"}):
		return true, selftest.GuestMain(context.Background(), stdin, stdout)
	case slices.Equal(args, setup.Argv()[1:]):
		return true, setup.GuestMain(stdin, stdout)
	case slices.Equal(args, trust.DoctorArgv()[1:]):
		return true, trust.DoctorMain(context.Background(), stdout)
	}
	return false, 0
}
