//go:build !linux

package main

import (
	"fmt"
	"os"
)

// runHidden has nothing to run: bottles' processes are Linux processes.
func runHidden(args []string) int {
	fmt.Fprintf(os.Stderr, "bottle-mcp: %q runs on Linux only\n", args[0])
	return 2
}
