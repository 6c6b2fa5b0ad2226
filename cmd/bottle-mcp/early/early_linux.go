package early

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/verbs"
	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
	"github.com/bottle-mcp/bottle-mcp/provision/trust"
)

func init() { //nolint:gochecknoinits // see the package comment
	args := os.Args[1:]
	// Only in a guest: elsewhere the probe would send packets to whoever is
	// there.
	if _, err := os.Lstat(backend.GuestBinary); err == nil && len(args) == 2 && args[0] == "guest" {
		inGuest(args[1])
	}
	if handled, code := verbs.Run(args); handled {
		os.Exit(code)
	}
}

// inGuest runs the verbs that provisioning has in a guest, if it is one.
func inGuest(verb string) {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	switch verb {
	case "selftest":
		os.Exit(selftest.GuestMain(ctx, os.Stdin, os.Stdout))
	case "doctor":
		os.Exit(trust.DoctorMain(ctx, os.Stdout))
	case "setup":
		os.Exit(setup.GuestMain(os.Stdin, os.Stdout))
	}
}
