//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "the stand-in of Apple's container program drives Podman and runs on Linux only; on a Mac use the program itself")
	os.Exit(1)
}
