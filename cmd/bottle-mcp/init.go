package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/cmd/bottle-mcp/agenthost"
	"github.com/bottle-mcp/bottle-mcp/cmd/bottle-mcp/starter"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// initOptions are the flags of init.
type initOptions struct {
	name string
	show bool
}

func newInit(c *cli) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a first bottle and agent for a project",
		Long: `init looks at the project in DIR, by default this directory, and writes a
commented bottle and agent into ~/.bot-bottle: no way out but downloads from the
public package hosts of the tools that the project uses. Nothing is written into
the project.

A file that exists is never changed; when both do, there is nothing to do and
that is a success.`,
		Example: `  bottle-mcp init
  bottle-mcp init --name web --print ~/projects/web`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef(verbOf(cmd), "init takes one directory, but there is also %q", args[1])
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return c.init(o, append(args, ".")[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.name, "name", "", "name of both files (default: that of the directory)")
	flags.BoolVar(&o.show, "print", false, "print the files and write nothing")
	return cmd
}

// starterFile is a manifest to be written.
type starterFile struct {
	kind, path, text string
}

// init is the verb.
func (c *cli) init(o initOptions, dir string) error {
	where, err := c.paths()
	if err != nil {
		return err
	}
	given := dir
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("the project: %w", err)
	}
	name := o.name
	if name == "" {
		name = starter.Name(dir)
	}
	if !manifest.ValidName(name) {
		return withHint(usagef("init", "%.80q cannot be the name of a manifest", name), "use a-z, 0-9 and '-', beginning with a letter")
	}
	project, err := starter.Detect(dir, os.LookupEnv)
	if err != nil {
		return err
	}
	files := []starterFile{
		{"bottle", filepath.Join(where.manifests, "bottles", name+".md"), project.Bottle(name)},
		{"agent", filepath.Join(where.manifests, "agents", name+".md"), starter.Agent(name, name)},
	}
	if o.show {
		for _, f := range files {
			c.con.notef("%s:", f.path)
			c.con.printf("%s\n", f.text)
		}
		return nil
	}
	written, err := c.writeStarters(files)
	if err != nil {
		return err
	}
	if err := loads(where.manifests, name); err != nil {
		return err
	}
	c.printStart(project, name, given, written)
	return nil
}

// writeStarters writes the files that do not exist and says which.
func (c *cli) writeStarters(files []starterFile) (written int, err error) {
	for _, f := range files {
		err := writeNew(f.path, f.text)
		switch {
		case errors.Is(err, fs.ErrExist):
			c.con.printf("%s %s exists and is left as it is\n", f.kind, f.path)
		case err != nil:
			return written, fmt.Errorf("%s %s cannot be written: %w", f.kind, f.path, err)
		default:
			written++
			c.con.printf("%s %s was written\n", f.kind, f.path)
		}
	}
	return written, nil
}

// writeNew writes a file that only its owner reads, and never over another one.
func writeNew(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// loads proves that what there is now can be used, also when it was there
// before.
func loads(home, name string) error {
	loader := manifest.Loader{Home: home}
	_, err := loader.Bottle(name)
	_, agentErr := loader.Agent(name, "")
	if err = errors.Join(err, agentErr); err != nil {
		return withHint(err, "correct it, or choose another name with --name; 'bottle-mcp manifest check' reads all of them")
	}
	return nil
}

// printStart says what was found and what comes next.
func (c *cli) printStart(project starter.Project, name, dir string, written int) {
	if written > 0 {
		found := "no kind of project was recognised at the top level, so no host can be reached"
		if len(project.Found) > 0 {
			var parts []string
			for _, f := range project.Found {
				parts = append(parts, f.Title+" ("+f.Marker+")")
			}
			found = "downloads: " + strings.Join(parts, ", ")
		}
		c.con.printf("\n%s\n", oneLine(found, 0))
		for _, h := range project.Named {
			c.con.printf("not allowed, but named by %s: %s (a comment in the bottle says how)\n", oneLine(h.By, 80), h.Host)
		}
	}
	workspace := agenthost.Shell([]string{dir})
	c.con.printf("\nnext:\n")
	c.con.printf("  bottle-mcp run --bottle %s --workspace %s --dry-run   # what it may do\n", name, workspace)
	c.con.printf("  bottle-mcp run --bottle %s --workspace %s -- COMMAND  # run something in it\n", name, workspace)
	c.con.printf("  bottle-mcp mcp install HOST  # give it to an agent host: %s\n", strings.Join(agenthost.Names(), ", "))
}
