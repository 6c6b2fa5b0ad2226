package provisiontest

import (
	"context"
	"os"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
	"github.com/bottle-mcp/bottle-mcp/provision/trust"
)

// Hidden runs what a launch on the linux backend starts of this program, where
// args ask for it. A test program calls it first in its TestMain and ends with
// the code, on the main thread.
func Hidden(args []string) (handled bool, code int) {
	if handled, code := linux.Hidden(args); handled {
		return true, code
	}
	switch {
	case slices.Equal(args, []string{"guest", "selftest"}):
		return true, selftest.GuestMain(context.Background(), os.Stdin, os.Stdout)
	case slices.Equal(args, setup.Argv()[1:]):
		return true, setup.GuestMain(os.Stdin, os.Stdout)
	case slices.Equal(args, trust.DoctorArgv()[1:]):
		return true, trust.DoctorMain(context.Background(), os.Stdout)
	}
	return false, 0
}
