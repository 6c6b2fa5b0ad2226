package early

import (
	"context"
	"os"
	"os/signal"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/verbs"
	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
)

func init() { //nolint:gochecknoinits // see the package comment
	args := os.Args[1:]
	// Only in a guest: elsewhere the probe would send packets to whoever is
	// there.
	if _, err := os.Lstat(backend.GuestBinary); err == nil && slices.Equal(args, []string{"guest", "selftest"}) {
		ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
		code := selftest.GuestMain(ctx, os.Stdin, os.Stdout)
		stop()
		os.Exit(code)
	}
	if handled, code := verbs.Run(args); handled {
		os.Exit(code)
	}
}
