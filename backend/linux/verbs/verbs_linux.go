package verbs

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/bottle-mcp/bottle-mcp/backend/archive"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/guest"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
	"github.com/bottle-mcp/bottle-mcp/backend/vmguest"
)

// Run runs the process that args ask for, if they do, and returns its exit
// code.
func Run(args []string) (handled bool, code int) {
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
	case "guest pack", "guest unpack", "guest unpack-file":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		return true, archive.GuestMain(ctx, args[1:], os.Stdin, os.Stdout, os.Stderr)
	case "sidecar enter":
		return true, jail.EnterMain()
	}
	if args[0] == "guest" {
		return vmguest.Main(args[1:], os.Stdout, os.Stderr)
	}
	if args[0] == "shim" {
		return true, shim.Main()
	}
	return false, 0
}
