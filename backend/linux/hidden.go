//go:build linux

package linux

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/bottle-mcp/bottle-mcp/backend/archive"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/guest"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
)

// Hidden runs the part of a bottle that args (the program's arguments without
// its name) ask for, if they do. Every program that uses this backend must
// call it first in main, tests included: the backend starts the program itself
// as a bottle's shim, as PID 1 in it and as its sidecar.
func Hidden(args []string) (handled bool, code int) {
	if len(args) == 0 {
		return false, 0
	}
	stage := ""
	if len(args) > 1 {
		stage = args[1]
	}
	switch args[0] + " " + stage {
	case "guest init":
		return true, guest.InitMain()
	case "guest serve":
		return true, guest.ServeMain()
	case "guest check":
		return true, guest.CheckMain()
	case "guest pack", "guest unpack":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		return true, archive.GuestMain(ctx, args[1:], os.Stdin, os.Stdout, os.Stderr)
	case "sidecar enter":
		return true, jail.EnterMain()
	case "sidecar serve":
		return true, jail.ServeMain()
	}
	if args[0] == "shim" {
		return true, shim.Main()
	}
	return false, 0
}
