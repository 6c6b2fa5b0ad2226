package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest/schema"
)

// manifestProblem is the JSON form of one problem.
type manifestProblem struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Key     string `json:"key,omitempty"`
	Problem string `json:"problem"`
	Hint    string `json:"hint,omitempty"`
}

// checkedManifest is the JSON form of one manifest that was checked.
type checkedManifest struct {
	Kind     string            `json:"kind"`
	Name     string            `json:"name"`
	Problems []manifestProblem `json:"problems"`
	// Unsupported is right and not in this version: a launch is refused.
	Unsupported []manifestProblem `json:"unsupported"`
}

// manifestCheck is the JSON form of a whole check.
type manifestCheck struct {
	Manifests []checkedManifest `json:"manifests"`
	Warnings  []string          `json:"warnings"`
}

// shownManifest is the JSON form of one resolved manifest.
type shownManifest struct {
	Kind        string            `json:"kind"`
	Name        string            `json:"name"`
	Values      []manifest.Value  `json:"values"`
	Unsupported []manifestProblem `json:"unsupported"`
}

func newManifest(c *cli) *cobra.Command {
	return verbs(&cobra.Command{Use: "manifest", Short: "Check and show what bottles and agents may do"},
		newManifestCheck(c), newManifestShow(c), newManifestExplain(c), newManifestSchema(c))
}

func newManifestCheck(c *cli) *cobra.Command {
	var asJSON bool
	var workspace string
	cmd := &cobra.Command{
		Use:   "check [NAME…]",
		Short: "Read every manifest, or some, and print all that is wrong",
		Long: `check reads every bottle and agent of ~/.bot-bottle and prints every problem of
every file. It fails when there is one. A NAME is that of a bottle or agent;
'bottles/NAME' and 'agents/NAME' mean one of the two.`,
		RunE: func(_ *cobra.Command, args []string) error { return c.checkManifests(workspace, args, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&workspace, "workspace", "", "also read the agents of this directory")
	return cmd
}

func newManifestShow(c *cli) *cobra.Command {
	var asJSON bool
	var workspace string
	cmd := &cobra.Command{
		Use:   "show NAME…",
		Short: "Print a bottle or agent as it resolves, and where each value was written",
		Long: `show prints every value that holds after all parents are in, with the file and
line it comes from. Several bottles are merged as at a launch. Where a bottle
and an agent have one name, NAME is the bottle; 'agents/NAME' is the agent.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return withHint(usagef("manifest show", "show needs the name of a bottle or agent"), "'bottle-mcp doctor' lists them")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return c.showManifests(workspace, args, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&workspace, "workspace", "", "also find agents in this directory")
	return cmd
}

func newManifestSchema(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:       "schema bottle|agent",
		Short:     "Print the JSON Schema of a kind of manifest, for editors",
		ValidArgs: schema.Kinds(),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("manifest schema", "schema takes one kind, bottle or agent")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			out, err := schema.Of(args[0])
			if err != nil {
				return usagef("manifest schema", "%w", err)
			}
			c.con.printf("%s", out)
			return nil
		},
	}
}

// manifests finds the operator's manifests and a workspace's.
func (c *cli) manifests(workspace string) (manifest.Loader, string, error) {
	where, err := c.paths()
	if err == nil && workspace != "" {
		workspace, err = filepath.Abs(workspace)
	}
	return manifest.Loader{Home: where.manifests}, workspace, err
}

// checkManifests is the verb "manifest check".
func (c *cli) checkManifests(workspace string, names []string, asJSON bool) error {
	loader, workspace, err := c.manifests(workspace)
	if err != nil {
		return err
	}
	result := manifestCheck{Manifests: []checkedManifest{}, Warnings: append(append([]string{}, loader.Skipped()...), loader.Warnings(workspace)...)}
	problems := 0
	for _, found := range loader.Check(workspace, names...) {
		one := checkedManifest{Kind: found.Kind, Name: found.Name, Problems: problemsOf(found.Err), Unsupported: unsupportedOf(found.Bottle, found.Agent)}
		problems += len(one.Problems)
		result.Manifests = append(result.Manifests, one)
	}
	if asJSON {
		err = printJSON(c.con, result)
	} else {
		c.printManifestCheck(result, problems)
	}
	if err == nil && problems > 0 {
		return &exitError{exitFailed}
	}
	return err
}

// problemsOf takes an error apart, one entry a problem.
func problemsOf(err error) []manifestProblem {
	out := []manifestProblem{}
	var all manifest.Errors
	var one *manifest.Error
	switch {
	case err == nil:
	case errors.As(err, &all):
		for _, e := range all {
			out = append(out, problemOf(e))
		}
	case errors.As(err, &one):
		out = append(out, problemOf(one))
	default:
		out = append(out, manifestProblem{Problem: err.Error()})
	}
	return out
}

func problemOf(e *manifest.Error) manifestProblem {
	return manifestProblem{File: e.File, Line: e.Line, Key: e.Key, Problem: e.Problem, Hint: e.Hint}
}

func (p manifestProblem) text() string {
	if p.File == "" {
		return p.Problem
	}
	return (&manifest.Error{File: p.File, Line: p.Line, Key: p.Key, Problem: p.Problem, Hint: p.Hint}).Error()
}

func unsupportedOf(b *manifest.Bottle, a *manifest.Agent) []manifestProblem {
	out := []manifestProblem{}
	for _, e := range provision.Unsupported(b, a) {
		out = append(out, problemOf(e))
	}
	return out
}

// printManifestCheck prints what is wrong, and of what is right only the number.
func (c *cli) printManifestCheck(result manifestCheck, problems int) {
	s := c.con.outStyle()
	for _, one := range result.Manifests {
		if len(one.Problems) > 0 {
			c.con.printf("%s %s\n", s.mark(false), s.bold(one.Kind+" "+oneLine(one.Name, 0)))
		} else if len(one.Unsupported) > 0 {
			c.con.printf("%s %s %s\n", s.yellow("!"), s.bold(one.Kind+" "+one.Name), "is right, but cannot be launched by this version")
		}
		for _, p := range append(one.Problems, one.Unsupported...) {
			c.con.printf("    %s\n", oneLine(p.text(), 0))
		}
	}
	for _, w := range result.Warnings {
		c.con.printf("%s %s\n", s.yellow("!"), oneLine(w, 0))
	}
	c.con.printf("%s %s: %s\n", s.mark(problems == 0), plural(len(result.Manifests), "manifest"), plural(problems, "problem"))
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// showManifests is the verb "manifest show".
func (c *cli) showManifests(workspace string, names []string, asJSON bool) error {
	loader, workspace, err := c.manifests(workspace)
	if err != nil {
		return err
	}
	shown, err := resolve(loader, workspace, names)
	if err != nil {
		return withHint(err, "'bottle-mcp manifest check' reads every manifest")
	}
	if asJSON {
		return printJSON(c.con, shown)
	}
	for i, one := range shown {
		if i > 0 {
			c.con.printf("\n")
		}
		if err := c.printManifest(one); err != nil {
			return err
		}
	}
	return nil
}

// resolve loads what is to be shown: the bottles as one, then each agent.
func resolve(loader manifest.Loader, workspace string, names []string) ([]shownManifest, error) {
	var bottles []*manifest.Bottle
	var shown []shownManifest
	for _, name := range names {
		found := loader.Check(workspace, name)[0] // the bottle, where there are two
		switch {
		case found.Err != nil:
			return nil, found.Err
		case found.Bottle != nil:
			bottles = append(bottles, found.Bottle)
		default:
			a := found.Agent
			shown = append(shown, shownManifest{Kind: "agent", Name: a.Name, Values: append([]manifest.Value{}, a.Values()...), Unsupported: unsupportedOf(nil, a)})
		}
	}
	if len(bottles) == 0 {
		return shown, nil
	}
	b, err := manifest.Merge(bottles)
	if err != nil {
		return nil, err
	}
	one := shownManifest{Kind: "bottle", Name: b.Name, Values: append([]manifest.Value{}, b.Values()...), Unsupported: unsupportedOf(b, nil)}
	return append([]shownManifest{one}, shown...), nil
}

// printManifest prints one manifest as a table.
func (c *cli) printManifest(one shownManifest) error {
	s := c.con.outStyle()
	c.con.printf("%s\n", s.bold(one.Kind+" "+one.Name))
	switch {
	case len(one.Values) > 0:
	case one.Kind == "bottle":
		c.con.printf("  nothing is set: no host can be reached\n")
	default:
		c.con.printf("  nothing is set: the caller chooses a bottle\n")
	}
	width := 0 // of a value: a table that is read by a program is not cut
	if c.con.outTerminal {
		width = 60
	}
	table := tabwriter.NewWriter(c.con.out, 0, 0, 2, ' ', 0)
	for _, v := range one.Values {
		_, _ = fmt.Fprintf(table, "  %s\t%s\t%s\n", oneLine(v.Key, 0), oneLine(v.Text(), width), oneLine(v.Origin.String(), 0))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("manifest show: %w", err)
	}
	for _, p := range one.Unsupported {
		c.con.printf("%s %s\n", s.yellow("!"), oneLine(p.text(), 0))
	}
	return nil
}
