package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/engine"
)

// exitBroken is the status of a stand-in that cannot work at all, which no
// real program has: a test that sees it looks for the reason here.
const exitBroken = 70

func main() {
	unix.Umask(0o22)
	ctx := context.Background()
	role := engine.RoleOf(os.Args[0])
	if role == "" {
		os.Exit(program(ctx, os.Args[1:]))
	}
	code, err := play(ctx, role, os.Args[1:])
	if err != nil {
		complain(fmt.Errorf("%s: %w", role, err))
		code = cmp.Or(code, exitBroken)
	}
	os.Exit(code)
}

func complain(err error) { _, _ = fmt.Fprintln(os.Stderr, err) }

// play plays one of the parts that are not the command line.
func play(ctx context.Context, role engine.Role, argv []string) (int, error) {
	switch role {
	case engine.RoleInit:
		return engine.Init(argv)
	case engine.RoleBuilder:
		engine.Shim(ctx)
		return 0, nil
	case engine.RoleGetent, engine.RoleLookup:
		return engine.Lookup(ctx, role, argv, os.Stdout, os.Stderr), nil
	case engine.RoleHook:
		// Podman runs it without an environment: the state is its argument.
		if len(argv) != 1 {
			return 0, errors.New("the state directory is the one argument")
		}
		e, err := engine.Open(argv[0])
		if err != nil {
			return 0, err
		}
		return 0, e.RewriteSpec(os.Stdin, os.Stdout)
	}
	e, err := engine.Open(stateDir())
	if err != nil {
		return 0, err
	}
	if role == engine.RoleServer {
		return 0, e.Serve(ctx, os.Stdin, os.Stdout)
	}
	if len(argv) != 1 {
		return 0, errors.New("the container is the one argument")
	}
	return 0, e.RunRuntime(ctx, argv[0], os.Stdin, os.Stdout)
}

func stateDir() string { return cmp.Or(os.Getenv(engine.StateEnv), engine.DefaultState) }
