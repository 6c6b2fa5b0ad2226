package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// explainOptions are the flags of manifest explain.
type explainOptions struct {
	bottles   []string
	agent     string
	workspace string
	method    string
	headers   []string
	asJSON    bool
}

func newManifestExplain(c *cli) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain [flags] URL",
		Short: "Say whether a bottle may make a request, which rule decides, and where it is written",
		Long: `explain answers "may this bottle send this request?" with the policy that a
launch would have: the bottle with all its parents and its provider's routes. It
prints the rule that decides with its file and line, the credential that would
be put in by name, and of a refusal what to write for the request to pass.

It starts nothing and resolves no name: an allowed host must also be at a public
address, or at one that its route names. The exit code is 0 for allowed, 1 for
refused, and 2 for a question that cannot be answered.`,
		Example: `  bottle-mcp manifest explain https://api.example.com/v1/models
  bottle-mcp manifest explain --bottle github --method POST https://api.github.com/repos/a/b/issues
  bottle-mcp manifest explain --agent reviewer --header 'Accept: text/html' https://docs.example.com/`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("manifest explain", "explain takes one URL")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return c.explain(o, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.bottles, "bottle", nil, "bottle manifest; may be repeated (default: the agent's, else \"default\")")
	flags.StringVar(&o.agent, "agent", "", "agent manifest")
	flags.StringVar(&o.workspace, "workspace", "", "also find the agent in this directory")
	flags.StringVar(&o.method, "method", http.MethodGet, "method of the request")
	flags.StringArrayVar(&o.headers, "header", nil, "'NAME: VALUE' of the request; may be repeated")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

// explain is the verb. What keeps it from an answer ends with the code of a wrong
// command line: a script must not take it for either answer.
func (c *cli) explain(o explainOptions, url string) error {
	loader, workspace, err := c.manifests(o.workspace)
	if err != nil {
		return &codedError{exitUsage, err}
	}
	header, err := parseHeaders(o.headers)
	if err != nil {
		return err
	}
	e, err := provision.Explain(loader.Home, provision.ExplainRequest{
		Agent: o.agent, Bottles: o.bottles, Workspace: workspace, URL: url, Method: strings.ToUpper(o.method), Header: header,
	})
	var unclear *provision.UnclearError
	switch {
	case errors.As(err, &unclear):
		return usagef("manifest explain", "%w", err)
	case err != nil:
		return &codedError{exitUsage, withHint(err, "'bottle-mcp manifest check' reads every manifest")}
	case o.asJSON:
		err = printJSON(c.con, e)
	default:
		err = c.printExplanation(e)
	}
	if err == nil && !e.Allowed {
		return &exitError{exitFailed}
	}
	return err
}

// parseHeaders reads 'NAME: VALUE' arguments.
func parseHeaders(lines []string) (http.Header, error) {
	out := http.Header{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !ok || !policy.ValidHeader(name, value):
			return nil, usagef("manifest explain", "--header %.80q is not 'NAME: VALUE'", name)
		case canonical == "Host":
			return nil, usagef("manifest explain", "--header Host is not accepted: the URL says where the request goes")
		}
		out.Add(canonical, value)
	}
	return out, nil
}

// printExplanation prints an answer for a person.
func (c *cli) printExplanation(e *provision.Explanation) error {
	s := c.con.outStyle()
	verdict := "allowed"
	if !e.Allowed {
		verdict = "refused"
	}
	c.con.printf("%s %s: %s\n", s.mark(e.Allowed), s.bold(verdict), oneLine(fmt.Sprintf("%s %s://%s:%d%s", e.Method, e.Scheme, e.Host, e.Port, e.Path), 0))
	table := tabwriter.NewWriter(c.con.out, 0, 0, 2, ' ', 0)
	row := func(name, text string) {
		if text != "" {
			_, _ = fmt.Fprintf(table, "  %s\t%s\n", name, oneLine(text, 0))
		}
	}
	from := "bottle " + strings.Join(e.Bottles, " + ")
	if e.Agent != "" {
		from = "agent " + e.Agent + ", " + from
	}
	row("policy", from)
	if e.Reason != "" {
		row("why", fmt.Sprintf("%s (%s, %s)", e.Message, e.Layer, e.Reason))
	}
	row("rule", ruleText(e.Route, e.Origin))
	row("match", ruleText(e.Match, e.MatchOrigin))
	if e.Credential != "" {
		row("credential", e.Credential+" is put in; the agent's own is taken off")
	}
	if e.Rule != "" {
		row("ports", portsText(e))
	}
	row("addresses", strings.Join(e.Private, ", "))
	if e.Change != nil {
		row("to allow it", e.Change.Text)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("manifest explain: %w", err)
	}
	for _, problem := range e.Unsupported {
		c.con.printf("%s %s\n", s.yellow("!"), oneLine(problem, 0))
	}
	return nil
}

func portsText(e *provision.Explanation) string {
	switch {
	case len(e.Ports) > 0:
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(e.Ports), " ", ", "), "[]")
	case e.HTTPSOnly:
		return "443 for https"
	}
	return "443 for https, 80 for http"
}

// ruleText is a rule and where it is written.
func ruleText(words string, origin *provision.RuleOrigin) string {
	if words == "" || origin == nil {
		return words
	}
	return words + " — " + origin.String()
}
