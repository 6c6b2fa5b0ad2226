package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
)

func runHidden(args []string) int {
	if handled, code := linux.Hidden(args); handled {
		return code
	}
	if len(args) == 2 && args[0] == "guest" && args[1] == "selftest" {
		ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
		defer stop()
		return selftest.GuestMain(ctx, os.Stdin, os.Stdout)
	}
	fmt.Fprintf(os.Stderr, "bottle-mcp: %q is not a verb for people\n", args[0])
	return 2
}
