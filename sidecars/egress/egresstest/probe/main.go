// Command probe is the red team in a guest that does not run a test program.
package main

import (
	"context"
	"os"

	"github.com/bottle-mcp/bottle-mcp/sidecars/egress/egresstest"
)

func main() {
	os.Exit(egresstest.ProbeMain(context.Background(), os.Stdin, os.Stdout, os.Stderr)) //nolint:forbidigo // a program of its own, in a guest
}
