package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/cmd/bottle-mcp/agenthost"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// hostCommandTimeout bounds a host's own command.
const hostCommandTimeout = 60 * time.Second

// mcpInstall is the verb.
func (c *cli) mcpInstall(ctx context.Context, o mcpOptions, name string) error {
	h, err := agenthost.Find(name)
	if err != nil {
		return usagef("mcp install", "%w", err)
	}
	server, err := c.serverFor(h, o)
	if err != nil {
		return err
	}
	if o.show {
		return c.printEntry(h, o, server)
	}
	f, err := openHost(name, agenthost.Scope(o.scope))
	if err != nil {
		return err
	}
	out, change, err := h.Install(f.doc, server, o.force)
	if err != nil {
		return f.failed(err)
	}
	backup, err := f.apply(ctx, out, change, server)
	if err != nil {
		return err
	}
	c.con.printf("%s: %q %s %s\n", h.Title, server.Name, said(change), f.store.Path)
	c.con.printf("  it starts %s\n", agenthost.Shell(append([]string{server.Command}, server.Args...)))
	c.printAftermath(f, change, backup)
	c.hintVariables(h, o)
	return nil
}

// said is a change in words, up to the name of the file.
func said(change agenthost.Change) string {
	switch change {
	case agenthost.Added:
		return "was added to"
	case agenthost.Replaced:
		return "replaces another program in"
	case agenthost.Updated:
		return "was updated in"
	case agenthost.Removed:
		return "was removed from"
	default:
		return "is up to date in"
	}
}

// printAftermath says what a person may want to do next.
func (c *cli) printAftermath(f *hostFile, change agenthost.Change, backup string) {
	if backup != "" {
		c.con.printf("  the file as it was: %s\n", backup)
	}
	if change != agenthost.Unchanged {
		c.con.printf("  %s sees it %s\n", f.host.Title, f.host.Apply)
	}
}

// apply writes the edit. Where the host rewrites its file while it runs, its
// own command adds the entry.
func (f *hostFile) apply(ctx context.Context, out []byte, change agenthost.Change, server agenthost.Server) (backup string, err error) {
	if change == agenthost.Unchanged {
		return "", nil
	}
	argv := f.host.AddCommand(server, f.scope)
	if change == agenthost.Added && f.host.Managed(f.scope) {
		if program, err := exec.LookPath(argv[0]); err == nil {
			return "", f.runHost(ctx, program, argv[1:], server)
		}
	}
	if backup, err = f.store.Write(f.doc, out); err != nil {
		return "", fmt.Errorf("%s cannot be written: %w", f.store.Path, err)
	}
	return backup, nil
}

// runHost runs the host's own command and looks at what it did.
func (f *hostFile) runHost(ctx context.Context, program string, args []string, server agenthost.Server) error {
	ctx, cancel := context.WithTimeout(ctx, hostCommandTimeout)
	defer cancel()
	hint := "'bottle-mcp mcp install " + f.host.Name + " --print' shows what to put into " + f.store.Path
	line := agenthost.Shell(append([]string{program}, args...))
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	if said, err := cmd.CombinedOutput(); err != nil {
		return withHint(fmt.Errorf("%s failed: %w: %s", line, err, oneLine(strings.TrimSpace(string(said)), 300)), hint)
	}
	doc, err := f.store.Read()
	if err != nil {
		return fmt.Errorf("%s cannot be read: %w", f.store.Path, err)
	}
	entries, err := f.host.Entries(doc)
	if err != nil || !slices.ContainsFunc(entries, func(e agenthost.Entry) bool { return e.Name == server.Name && e.Ours() }) {
		return withHint(fmt.Errorf("%s ended well, but %s has no entry %q (%w)", line, f.store.Path, server.Name, errors.Join(err, errNoEntry)), hint)
	}
	return nil
}

var errNoEntry = errors.New("not found")

// printEntry prints the host's own form: the file's content to standard output,
// what to do with it beside.
func (c *cli) printEntry(h agenthost.Host, o mcpOptions, server agenthost.Server) error {
	f, err := openHost(h.Name, agenthost.Scope(o.scope))
	if err != nil {
		return err
	}
	text, err := h.Snippet(server)
	if err != nil {
		return usagef("mcp install", "%w", err)
	}
	c.con.notef("%s reads this from %s:", h.Title, f.store.Path)
	c.con.printf("%s", text)
	if argv := h.AddCommand(server, f.scope); argv != nil {
		c.con.notef("or run: %s", agenthost.Shell(argv))
	}
	c.hintVariables(h, o)
	return nil
}

// serverFor is the entry that the flags describe.
func (c *cli) serverFor(h agenthost.Host, o mcpOptions) (agenthost.Server, error) {
	command, err := executable()
	if err != nil {
		return agenthost.Server{}, err
	}
	server := agenthost.Server{Name: o.name, Command: command, Args: []string{"serve"}, Env: o.env}
	folder, knows := h.Folder(agenthost.Scope(o.scope))
	switch {
	case len(o.roots) > 0:
	case !knows:
		return server, withHint(usagef("mcp install", "%s starts servers in no directory of use, so the tools could touch no files", h.Title), "name the directories that they may, with --root DIR")
	case folder != "":
		server.Args = append(server.Args, "--root", folder)
	}
	for _, root := range o.roots {
		dir, err := filepath.Abs(root)
		if err != nil {
			return server, fmt.Errorf("--root: %w", err)
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || dir == string(filepath.Separator) {
			return server, usagef("mcp install", "--root %s is no directory that bottles could use", root)
		}
		server.Args = append(server.Args, "--root", dir)
	}
	if c.stateDir != "" {
		dir, err := filepath.Abs(c.stateDir)
		if err != nil {
			return server, fmt.Errorf("--state-dir: %w", err)
		}
		server.Args = append(server.Args, "--state-dir", dir)
	}
	if _, err := h.Snippet(server); err != nil {
		return server, usagef("mcp install", "%w", err)
	}
	return server, nil
}

// executable is this program as a host starts it: by the path that people use,
// when that leads here, so that an upgrade changes nothing.
func executable() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("this program cannot be found: %w", err)
	}
	if strings.Contains(self, string(filepath.Separator)+"go-build") {
		return "", withHint(errors.New("'go run' removes this program when it ends, so no host could start it"), "build and install it first: go build -o bottle-mcp ./cmd/bottle-mcp")
	}
	found, err := exec.LookPath(agenthost.Program)
	if err != nil || !filepath.IsAbs(found) {
		return self, nil //nolint:nilerr // it is not on the PATH: then it has but one name
	}
	a, errA := os.Stat(found)
	b, errB := os.Stat(self)
	if errA == nil && errB == nil && os.SameFile(a, b) {
		return found, nil
	}
	return self, nil
}

// hintVariables names what the operator's bottles read from the environment of
// the server and the entry does not pass on.
func (c *cli) hintVariables(h agenthost.Host, o mcpOptions) {
	where, err := c.paths()
	if err != nil {
		return
	}
	missing := slices.DeleteFunc(hostVariables(manifest.Loader{Home: where.manifests}), func(name string) bool { return slices.Contains(o.env, name) })
	if len(missing) == 0 {
		return
	}
	hint := "--env passes a variable on by its name"
	if !h.PassesVariables() {
		hint = "set them where " + h.Title + " is started"
	}
	c.con.notef("bottle-mcp: your bottles read %s from the server's environment", strings.Join(missing, ", "))
	c.con.notef("  %s %s", c.con.errStyle().bold("hint:"), hint)
}

// hostVariables lists the host variables that the operator's bottles name.
func hostVariables(loader manifest.Loader) []string {
	var out []string
	for _, name := range loader.Bottles() {
		b, err := loader.Bottle(name)
		if err != nil {
			continue // doctor reports it
		}
		for _, r := range b.Routes {
			if r.Auth != nil {
				out = append(out, r.Auth.TokenRef)
			}
		}
		for _, v := range b.Env {
			if v.FromHost != "" {
				out = append(out, v.FromHost)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
