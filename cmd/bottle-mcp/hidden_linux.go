package main

import (
	"fmt"
	"os"

	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	_ "github.com/bottle-mcp/bottle-mcp/cmd/bottle-mcp/early" // runs most of them
	"github.com/bottle-mcp/bottle-mcp/sidecars/pid1"
)

func runHidden(args []string) int {
	if handled, code := linux.Hidden(args); handled {
		return code
	}
	if handled, code := pid1.Run(args, os.Stdout, os.Stderr); handled {
		return code
	}
	fmt.Fprintf(os.Stderr, "bottle-mcp: %q is not a verb for people\n", args[0])
	return 2
}
