package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/tools"
)

// cli is what every verb shares: the console and the global flags.
type cli struct {
	con      *console
	logLevel string
	stateDir string
	// connect builds what the verbs work with; tests put a fake here.
	connect func(context.Context, paths, wiring, *slog.Logger) (tools.Bottles, error)
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, con *console) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	root := newRoot(&cli{con: con, connect: connect})
	root.SetArgs(args)
	root.SetIn(con.in)
	root.SetOut(con.out)
	root.SetErr(con.err)
	err := root.ExecuteContext(ctx)
	printError(con.err, con.errStyle(), err)
	return exitCode(err)
}

// newRoot builds the command tree.
func newRoot(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:   "bottle-mcp",
		Short: "Isolated bottles for agents, over MCP and from the command line",
		Long: `bottle-mcp runs each agent task in a bottle of its own: an ephemeral machine
whose only way out is a proxy that denies by default and holds the secrets.

Agent hosts start 'bottle-mcp serve'. People start with 'bottle-mcp probe'.`,

		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef(verbOf(cmd), "%w", err)
	})
	flags := root.PersistentFlags()
	flags.StringVar(&c.logLevel, "log-level", "", "debug, info, warn or error (default warn; serve: info)")
	flags.StringVar(&c.stateDir, "state-dir", "", "where bottles keep their state (default $XDG_STATE_HOME/bottle-mcp)")
	return verbs(root,
		newServe(c), newProbe(c), newDoctor(c), newRun(c), newInit(c),
		newList(c), newReload(c), newLedger(c), newCleanup(c), newManifest(c), newMCP(c), newVersion(c), newFetch(c))
}

// verbs makes cmd a command that does nothing itself: it holds others, shows its
// help without one of them, and suggests one for a name that none has.
func verbs(cmd *cobra.Command, below ...*cobra.Command) *cobra.Command {
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownVerb(cmd, args[0])
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(below...)
	return cmd
}

// verbOf is the verb as it is typed, such as "manifest check"; "" for the root.
func verbOf(cmd *cobra.Command) string {
	return strings.TrimSpace(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()))
}

// unknownVerb suggests the verb of a command that was meant.
func unknownVerb(parent *cobra.Command, name string) error {
	err := usagef(verbOf(parent), "there is no verb %q", strings.TrimSpace(verbOf(parent)+" "+name))
	for _, near := range parent.SuggestionsFor(name) {
		err = withHint(err, "did you mean '"+near+"'?")
	}
	return err
}

// noArguments refuses positional arguments.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef(verbOf(cmd), "%s takes no arguments, but there is %q", cmd.Name(), args[0])
	}
	return nil
}

// interrupted reports that the person asked to stop.
func interrupted(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.Canceled)
}
