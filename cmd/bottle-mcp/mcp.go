package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/cmd/bottle-mcp/agenthost"
)

// mcpOptions are the flags of mcp's verbs.
type mcpOptions struct {
	scope  string
	name   string
	roots  []string
	env    []string
	show   bool
	force  bool
	asJSON bool
}

func newMCP(c *cli) *cobra.Command {
	return verbs(&cobra.Command{Use: "mcp", Short: "Put this server into the configuration of agent hosts"},
		newMCPInstall(c), newMCPUninstall(c), newMCPList(c))
}

func newMCPInstall(c *cli) *cobra.Command {
	var o mcpOptions
	cmd := &cobra.Command{
		Use:   "install HOST",
		Short: "Have an agent host start this server",
		Long: `install writes this program's entry into the configuration of HOST:
` + hostList() + `

It changes that entry and nothing else in the file, keeps a copy of the file as
it was, and does nothing when the entry is there. --print writes nothing.

Variables go by name: the host hands over its own value of them, which is never
written. Bottles read tokens from the server's environment.`,
		Example: `  bottle-mcp mcp install claude
  bottle-mcp mcp install cursor --root ~/projects --env GITHUB_TOKEN
  bottle-mcp mcp install vscode --scope project --print`,
		ValidArgs: agenthost.Names(),
		Args:      oneHost,
		RunE:      func(cmd *cobra.Command, args []string) error { return c.mcpInstall(cmd.Context(), o, args[0]) },
	}
	o.common(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&o.roots, "root", nil, "directory that tools may touch; may be repeated (default: the project that the host works on)")
	flags.StringArrayVar(&o.env, "env", nil, "NAME of a variable that the host passes on; may be repeated")
	flags.BoolVar(&o.show, "print", false, "print what would be written and write nothing")
	return cmd
}

func newMCPUninstall(c *cli) *cobra.Command {
	var o mcpOptions
	cmd := &cobra.Command{
		Use:       "uninstall HOST",
		Short:     "Take this server out of an agent host again",
		ValidArgs: agenthost.Names(),
		Args:      oneHost,
		RunE:      func(_ *cobra.Command, args []string) error { return c.mcpUninstall(o, args[0]) },
	}
	o.common(cmd)
	return cmd
}

func newMCPList(c *cli) *cobra.Command {
	var o mcpOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Say which agent hosts start this server",
		Args:  noArguments,
		RunE:  func(*cobra.Command, []string) error { return c.mcpList(o.asJSON) },
	}
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

// common are the flags that say which entry is meant.
func (o *mcpOptions) common(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.scope, "scope", string(agenthost.User), "user, or project for the file of the project in this directory")
	flags.StringVar(&o.name, "name", "bottle", "name of the entry")
	flags.BoolVar(&o.force, "force", false, "also when the entry of this name belongs to another program")
}

func hostList() string {
	var lines []string
	for _, h := range agenthost.Hosts() {
		lines = append(lines, fmt.Sprintf("  %-16s%s", h.Name, h.Title))
	}
	return strings.Join(lines, "\n")
}

func oneHost(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef(verbOf(cmd), "%s takes one host: choose one of %s", cmd.Name(), strings.Join(agenthost.Names(), ", "))
	}
	if _, err := agenthost.Find(args[0]); err != nil {
		return usagef(verbOf(cmd), "%w", err)
	}
	return nil
}

// hostFile is a configuration file of a host that was read.
type hostFile struct {
	host  agenthost.Host
	scope agenthost.Scope
	store agenthost.Store
	doc   []byte // nil = there is none
}

// openHost finds and reads the file of a host.
func openHost(name string, scope agenthost.Scope) (*hostFile, error) {
	h, err := agenthost.Find(name)
	if err != nil {
		return nil, err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, withHint(fmt.Errorf("no home directory: %w", err), "set HOME")
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("this directory cannot be used: %w", err)
	}
	f := &hostFile{host: h, scope: scope}
	if f.store.Path, err = h.File(scope, agenthost.Place{GOOS: runtime.GOOS, Home: home, Project: dir, LookupEnv: os.LookupEnv}); err != nil {
		return nil, usagef("mcp", "%w", err)
	}
	if scope == agenthost.Project {
		f.store.Inside = dir
	}
	if f.doc, err = f.store.Read(); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", f.store.Path, err)
	}
	return f, nil
}

// failed explains why a file is as it was.
func (f *hostFile) failed(err error) error {
	err = fmt.Errorf("%s is left as it is: %w", f.store.Path, err)
	if errors.Is(err, agenthost.ErrTaken) {
		return withHint(err, "--force replaces or removes it, --name OTHER is about another entry")
	}
	return withHint(err, "'bottle-mcp mcp install "+f.host.Name+" --print' shows what to put there by hand")
}

// mcpUninstall is the verb.
func (c *cli) mcpUninstall(o mcpOptions, name string) error {
	f, err := openHost(name, agenthost.Scope(o.scope))
	if err != nil {
		return err
	}
	out, change, err := f.host.Uninstall(f.doc, o.name, o.force)
	if err != nil {
		return f.failed(err)
	}
	if change == agenthost.Unchanged {
		c.con.printf("%s: there is no %q in %s\n", f.host.Title, o.name, f.store.Path)
		return nil
	}
	backup, err := f.store.Write(f.doc, out)
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", f.store.Path, err)
	}
	c.con.printf("%s: %q %s %s\n", f.host.Title, o.name, said(change), f.store.Path)
	c.printAftermath(f, change, backup)
	return nil
}
