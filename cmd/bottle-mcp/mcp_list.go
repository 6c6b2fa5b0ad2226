package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/bottle-mcp/bottle-mcp/cmd/bottle-mcp/agenthost"
)

// listedHost is the JSON form of one configuration file, stable for scripts.
type listedHost struct {
	Host    string           `json:"host"`
	Scope   agenthost.Scope  `json:"scope"`
	File    string           `json:"file"`
	Exists  bool             `json:"exists"`
	Entries []listedMCPEntry `json:"entries"`
	Problem string           `json:"problem,omitempty"`
}

// listedMCPEntry is an entry of this program.
type listedMCPEntry struct {
	Name    string   `json:"name"`
	Command string   `json:"command"`
	Args    []string `json:"args"`
	// Missing is true when the program is not where the entry says.
	Missing bool `json:"missing,omitempty"`
}

// mcpList is the verb.
func (c *cli) mcpList(asJSON bool) error {
	listed := []listedHost{}
	for _, h := range agenthost.Hosts() {
		for _, scope := range h.Scopes() {
			listed = append(listed, look(h, scope))
		}
	}
	if asJSON {
		return printJSON(c.con, listed)
	}
	return c.printHosts(listed)
}

// look reads one file of a host.
func look(h agenthost.Host, scope agenthost.Scope) listedHost {
	out := listedHost{Host: h.Name, Scope: scope, Entries: []listedMCPEntry{}}
	f, err := openHost(h.Name, scope)
	if err != nil {
		out.Problem = err.Error()
		return out
	}
	out.File, out.Exists = f.store.Path, f.doc != nil
	entries, err := h.Entries(f.doc)
	if err != nil {
		out.Problem = err.Error()
	}
	for _, e := range entries {
		if e.Ours() {
			_, err := os.Stat(e.Command)
			out.Entries = append(out.Entries, listedMCPEntry{Name: e.Name, Command: e.Command, Args: e.Args, Missing: err != nil})
		}
	}
	return out
}

// printHosts prints a table of hosts that have something to say.
func (c *cli) printHosts(listed []listedHost) error {
	table := tabwriter.NewWriter(c.con.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "HOST\tSCOPE\tENTRY\tSTARTS")
	for _, l := range listed {
		row := func(entry, starts string) {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", l.Host, l.Scope, oneLine(entry, 32), oneLine(starts, 200))
		}
		switch {
		case l.Problem != "":
			row("?", "not readable: "+l.Problem)
		case len(l.Entries) == 0:
			row("-", "-")
		}
		for _, e := range l.Entries {
			starts := agenthost.Shell(append([]string{e.Command}, e.Args...))
			if e.Missing {
				starts += " (the program is not there; install again)"
			}
			row(e.Name, starts)
		}
	}
	return table.Flush()
}
