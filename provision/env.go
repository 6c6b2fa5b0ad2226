package provision

import (
	"maps"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/trust"
)

// wiring is what the environment of a guest is made from.
type wiring struct {
	endpoints backend.Endpoints
	user      manifest.GitUser
	// extra are the manifest's and the request's variables. None of them is
	// reserved.
	extra map[string]string
}

// environment builds the whole environment of a guest, sorted by name. It is
// set before anything runs there.
func environment(w wiring) []string {
	env := baseEnv()
	maps.Copy(env, identityEnv(w.user))
	maps.Copy(env, w.extra)
	maps.Copy(env, trust.CAVariables())
	maps.Copy(env, trust.ProxyVariables(w.endpoints))
	env[trust.JavaOptions] = strings.TrimSpace(trust.Java(w.endpoints) + " " + w.extra[trust.JavaOptions])
	if w.endpoints.GitGate != "" {
		env["GIT_GATE_URL"] = w.endpoints.GitGate
	}
	if w.endpoints.Supervise != "" {
		env["MCP_SUPERVISE_URL"] = w.endpoints.Supervise
	}
	if w.endpoints.Bottles != "" {
		env[trust.BottlesVariable] = w.endpoints.Bottles
	}
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// baseEnv is what every program expects. A manifest may set it differently.
func baseEnv() map[string]string {
	return map[string]string{
		"HOME":    backend.AgentHome,
		"USER":    backend.AgentUser,
		"LOGNAME": backend.AgentUser,
		"SHELL":   "/bin/sh",
		"PATH":    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG":    "C.UTF-8",
		// There is no terminal: programs that ask do without colours.
		"TERM": "dumb",
	}
}

// reservedEnv reports whether a variable is the wiring's and nobody else's.
func reservedEnv(name string) bool {
	for _, prefix := range []string{"EGRESS_TOKEN_", "BOT_BOTTLE_", "BOTTLE_MCP_"} {
		if strings.HasPrefix(strings.ToUpper(name), prefix) {
			return true
		}
	}
	switch name {
	case "GIT_GATE_URL", "MCP_SUPERVISE_URL", "ALL_PROXY", "all_proxy":
		return true
	}
	_, isCA := trust.CAVariables()[name]
	_, isProxy := trust.ProxyVariables(backend.Endpoints{Egress: "x"})[name]
	return isCA || isProxy
}

// baseName reports whether a variable is one of the base, which a manifest may
// set and a request may not.
func baseName(name string) bool {
	_, ok := baseEnv()[name]
	// What a manifest has for Java goes behind ours.
	return ok || name == trust.JavaOptions
}
