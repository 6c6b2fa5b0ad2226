//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "enter: a world is made of Linux namespaces; a Mac has the real tool")
	os.Exit(1)
}
