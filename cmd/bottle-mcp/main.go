package main

import (
	"context"
	"os"
)

func main() {
	if handled, code := hiddenVerb(os.Args); handled {
		os.Exit(code)
	}
	os.Exit(execute(context.Background(), os.Args[1:], newConsole(os.Stdin, os.Stdout, os.Stderr)))
}
