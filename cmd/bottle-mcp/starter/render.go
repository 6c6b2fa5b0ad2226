package starter

import (
	"fmt"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// readOnly is the match that lets downloads pass and nothing else.
const readOnly = "matches: [{ methods: [GET, HEAD] }]"

// Bottle writes the manifest of a bottle.
func (p *Project) Bottle(name string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("---")
	line("# Bottle %q: what the machine for this work may do. 'bottle-mcp init' wrote it,", name)
	line("# from here on it is yours. See what it allows:  bottle-mcp run --bottle %s --dry-run", name)
	line("# Run in it:  bottle-mcp run --bottle %s --workspace . -- COMMAND", name)
	line("")
	p.routes(line)
	p.environment(line)
	line("# The bottle ends after this long, whatever runs in it.")
	line("ttl: 4h")
	line("")
	line("# Lower than the defaults, if you like.")
	line("# resources: { cpus: 2, memory: 4GiB, disk: 4GiB, pids: 1024 }")
	line("")
	line("# Build on other bottles; their routes and variables are added.")
	line("# extends: [other]")
	line("---")
	line("Notes for people go here; they are ignored.")
	return b.String()
}

// routes writes the way out.
func (p *Project) routes(line func(string, ...any)) {
	line("# The way out. Every host that is not listed is refused. Secrets never enter the")
	line("# bottle: the proxy outside adds them to requests.")
	line("egress:")
	if len(p.Found) == 0 {
		line("  # No project was recognised, so no host can be reached.")
		line("  routes: [] # write entries such as those below in place of []")
	} else {
		line("  routes:")
	}
	for _, f := range p.Found {
		line("    # %s (%s): public hosts, downloads only.", f.Title, f.Marker)
		for _, host := range f.hosts {
			line("    - host: %s", host)
			line("      %s", readOnly)
		}
	}
	for _, h := range p.Named {
		line("    # Named by %s. Remove the '#' if it may be reached:", h.By)
		line("    # - host: %s", h.Host)
		if h.Port != 0 {
			line("    #   ports: [%d]", h.Port)
		}
		line("    #   %s", readOnly)
	}
	line("    # A host with a secret, from the variable GITHUB_TOKEN where bottle-mcp runs:")
	line("    # - host: api.github.com")
	line("    #   auth: { scheme: Bearer, token_ref: GITHUB_TOKEN }")
	line("    #   matches: [{ methods: [GET], paths: [{ type: prefix, value: /repos/OWNER/REPO }] }]")
	line("    # Clone and fetch, never push:")
	line("    # - host: github.com")
	line("    #   git: { fetch: true }")
	line("    #   matches: [{ methods: [GET, HEAD] }]")
	line("")
}

// environment writes the variables.
func (p *Project) environment(line func(string, ...any)) {
	line("# Variables for everything in the bottle. \"${NAME}\" copies one of yours at each")
	line("# launch; no secrets here, they would be inside.")
	line("env:")
	line("  CI: \"true\" # tools ask no questions")
	for _, f := range p.Found {
		for _, v := range f.env {
			why := ""
			if v.why != "" {
				why = " # " + v.why
			}
			line("  %s: %q%s", v.name, v.value, why)
		}
	}
	for _, h := range p.Named {
		if h.Variable != "" {
			line("  # %s: \"${%s}\" # if it holds no password", h.Variable, h.Variable)
		}
	}
	line("")
}

// Agent writes the manifest of an agent that works in the bottle.
func Agent(name, bottle string) string {
	return fmt.Sprintf(`---
# Agent %[1]q: who works in a bottle, and what it is told. 'bottle-mcp init' wrote it.
# An MCP call starts it with:  launch {"agent": %[1]q}
description: Works on this project in a bottle of its own.

# The bottle that it gets when a launch names none.
bottle: %[2]s
---
You work in an isolated machine that is made for this task and removed after it.

- The project is in %[3]s. It is a copy: what should be kept, say so
  at the end, so that it can be copied out.
- The network is closed but for a few hosts. A refused request says which rule
  refused it. Do not look for a way around; say what you need and why.
- There are no secrets here and none are needed: allowed hosts get them on the way.
- Say what you did, what you ran to check it, and what is left.
`, name, bottle, backend.GuestWorkspace)
}
