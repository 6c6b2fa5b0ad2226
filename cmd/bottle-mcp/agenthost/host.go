package agenthost

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Scope is who an entry is for.
type Scope string

// The scopes that hosts have in common.
const (
	// User is every project of one person.
	User Scope = "user"
	// Project is everybody in one project; the file is shared with it.
	Project Scope = "project"
)

// Place is the machine that files are looked for on.
type Place struct {
	GOOS    string
	Home    string // the user's home directory
	Project string // the project's directory
	// LookupEnv reads the environment, as os.LookupEnv does: some hosts move
	// their directory by a variable.
	LookupEnv func(string) (string, bool)
}

// variable is a directory named by the environment, else fallback.
func (p Place) variable(name, fallback string) string {
	if p.LookupEnv != nil {
		if dir, ok := p.LookupEnv(name); ok && filepath.IsAbs(dir) {
			return dir
		}
	}
	return fallback
}

// application is the directory where desktop programs keep their settings.
func (p Place) application(name string) string {
	if p.GOOS == "darwin" {
		return filepath.Join(p.Home, "Library", "Application Support", name)
	}
	return filepath.Join(p.variable("XDG_CONFIG_HOME", filepath.Join(p.Home, ".config")), name)
}

// Host is a program that starts MCP servers.
type Host struct {
	// Name is what people type; Title is what the program is called.
	Name, Title string
	// Apply says when the host reads its file again.
	Apply string

	// key is the object, or the TOML table, that holds the servers.
	key  string
	toml bool
	// comments is true where the host reads JSON with comments.
	comments bool
	// stdio is true where an entry says its transport.
	stdio bool
	// reference writes a variable by name in a value; nil where there is no
	// such form.
	reference func(name string) string
	// folder is how a file of a project names the project's directory; "" where
	// the server starts in it.
	folder string
	// starts is true where a user's server starts in the project's directory.
	starts bool

	user, project func(Place) string // nil = the host has no such scope
}

// Hosts is the table of all that are known. The forms were checked against the
// hosts' documentation in November 2026.
func Hosts() []Host {
	braces := func(name string) string { return "${env:" + name + "}" }
	in := func(names ...string) func(Place) string {
		return func(p Place) string { return filepath.Join(append([]string{p.Project}, names...)...) }
	}
	return []Host{
		{
			Name: "claude", Title: "Claude Code", Apply: "in the next session", key: "mcpServers", stdio: true, starts: true,
			// Without a default an unset variable arrives as the literal text.
			reference: func(name string) string { return "${" + name + ":-}" },
			user:      func(p Place) string { return filepath.Join(p.variable("CLAUDE_CONFIG_DIR", p.Home), ".claude.json") },
			project:   in(".mcp.json"),
		},
		{
			Name: "claude-desktop", Title: "Claude Desktop", Apply: "after it is quit and started again", key: "mcpServers",
			user: func(p Place) string {
				return filepath.Join(p.application("Claude"), "claude_desktop_config.json")
			},
		},
		{
			Name: "codex", Title: "Codex", Apply: "in the next session", key: "mcp_servers", toml: true, starts: true,
			reference: func(name string) string { return name },
			user: func(p Place) string {
				return filepath.Join(p.variable("CODEX_HOME", filepath.Join(p.Home, ".codex")), "config.toml")
			},
			project: in(".codex", "config.toml"),
		},
		{
			Name: "cursor", Title: "Cursor", Apply: "once it is switched on in the MCP settings", key: "mcpServers", comments: true,
			reference: braces, folder: "${workspaceFolder}",
			user:    func(p Place) string { return filepath.Join(p.Home, ".cursor", "mcp.json") },
			project: in(".cursor", "mcp.json"),
		},
		{
			Name: "vscode", Title: "VS Code", Apply: "once it is started from the MCP view", key: "servers", comments: true, stdio: true,
			reference: braces, folder: "${workspaceFolder}",
			user:    func(p Place) string { return filepath.Join(p.application("Code"), "User", "mcp.json") },
			project: in(".vscode", "mcp.json"),
		},
		{
			Name: "gemini", Title: "Gemini CLI", Apply: "in the next session", key: "mcpServers", comments: true, starts: true,
			reference: func(name string) string { return "${" + name + "}" },
			user:      func(p Place) string { return filepath.Join(p.Home, ".gemini", "settings.json") },
			project:   in(".gemini", "settings.json"),
		},
		{
			Name: "windsurf", Title: "Windsurf", Apply: "after its MCP servers are refreshed", key: "mcpServers", comments: true,
			reference: braces,
			user:      func(p Place) string { return filepath.Join(p.Home, ".codeium", "windsurf", "mcp_config.json") },
		},
	}
}

// Names lists the hosts that are known.
func Names() []string {
	var out []string
	for _, h := range Hosts() {
		out = append(out, h.Name)
	}
	return out
}

// Find gives the host of a name.
func Find(name string) (Host, error) {
	all := Hosts()
	i := slices.IndexFunc(all, func(h Host) bool { return h.Name == name })
	if i < 0 {
		return Host{}, fmt.Errorf("there is no host %.40q: choose one of %s", name, strings.Join(Names(), ", "))
	}
	return all[i], nil
}

// Scopes are those that the host has.
func (h Host) Scopes() []Scope {
	if h.project == nil {
		return []Scope{User}
	}
	return []Scope{User, Project}
}

// File is where the host reads its servers from.
func (h Host) File(scope Scope, place Place) (string, error) {
	switch {
	case scope == User:
		return h.user(place), nil
	case scope == Project && h.project != nil:
		return h.project(place), nil
	case scope == Project:
		return "", fmt.Errorf("%s has no configuration in projects: use the scope %q", h.Title, User)
	}
	return "", fmt.Errorf("there is no scope %.40q: choose %q or %q", scope, User, Project)
}

// Folder is how the host names the directory of the project that it works on,
// for a server that must be told. "" means that the server starts there; false
// means that the host has no way to say it.
func (h Host) Folder(scope Scope) (string, bool) {
	if scope == Project {
		return h.folder, true
	}
	return "", h.starts
}

// PassesVariables reports whether the host can hand a variable to a server
// without its value in the file.
func (h Host) PassesVariables() bool { return h.reference != nil }
