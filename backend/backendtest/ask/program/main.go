// Command program is package ask as a program of its own.
package main

import (
	"context"
	"os"

	"github.com/bottle-mcp/bottle-mcp/backend/backendtest/ask"
)

func main() {
	os.Exit(ask.Main(context.Background(), os.Args[1:], ask.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})) //nolint:forbidigo // the process's own
}
