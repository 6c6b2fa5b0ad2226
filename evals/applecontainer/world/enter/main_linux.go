// Command enter runs a program in a world of the stand-in, a shell when none is
// named, and exits as it does:
//
//	go run ./evals/applecontainer/world/enter [-images] [-without-standin] [-- PROGRAM…]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
)

func main() {
	without := flag.Bool("without-standin", false, "leave `container` out of $PATH")
	standin := flag.String("standin", "", "run this file as container, instead of building it")
	images := flag.Bool("images", false, "load the test images first")
	flag.Parse()
	argv := flag.Args()
	if len(argv) == 0 {
		argv = []string{"sh"}
	}
	os.Exit(world.Run(func() int { return run(argv, *images) }, world.Options{Standin: *standin, WithoutStandin: *without}))
}

func run(argv []string, images bool) int {
	ctx := context.Background()
	if images {
		if err := world.BuildImages(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "enter:", err)
			return 1
		}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "enter:", err)
		return 1
	}
	return 0
}
