package provider

import (
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// Provider is one kind of agent as its file describes it. It is plain data.
type Provider struct {
	Name string
	// File is where it was read from; "" for one that is built in.
	File        string
	Description string
	Program     Program
	// Image names an OCI image that has the program. Dockerfile is the text to
	// build one from instead, DockerfilePath where an operator's own stands.
	Image          string
	Dockerfile     string
	DockerfilePath string
	// User is who works in a guest from an image, by name or number; "" = the
	// image's own user.
	User string
	// Env is for every guest with this agent; a manifest may set it differently.
	Env map[string]string
	// Routes are needed whatever the login.
	Routes []manifest.Route
	// AuthToken is what agent_provider.auth_token brings, HostLogin what
	// forward_host_credentials does; nil = the provider has no such thing.
	AuthToken *Login
	HostLogin *Login
	Prompt    Prompt
	// Skills is the directory for skills, below the home; "" = it has none.
	Skills string
	Files  []File
	// Supervise registers the supervisor's MCP server; nil = the agent cannot
	// use one.
	Supervise *Registration
	// Bottles registers the MCP server of a bottle that may launch others.
	Bottles     *Registration
	Interactive Command
	Headless    Command
}

// Program is what runs in the guest. Where a guest has this host's programs it
// must be one of them.
type Program struct {
	Name    string `json:"name,omitempty"`    // "" = any
	Install string `json:"install,omitempty"` // how to get it, for people
}

// Login is one way to log in. The route's host gets the credential; the guest
// gets placeholders.
type Login struct {
	Route  manifest.Route // without Auth
	Scheme string
	Env    map[string]string
	Files  []File
	// Format says how the host's own login is read; only in HostLogin.
	Format string
}

// Prompt says how the agent gets its system prompt.
type Prompt struct {
	File string // below the home
	Argv []string
}

// Formats of a File.
const (
	FormatJSON = "json"
	FormatTOML = "toml"
	FormatText = "text"
)

// File is a file below the guest's home. Its strings may hold variables.
type File struct {
	Path   string
	Mode   uint32
	Format string
	// Content is text of FormatText, else a mapping as manifest.Node.Tree gives it.
	Content any
}

// Registration tells the agent of an MCP server, by files, a command, or both.
type Registration struct {
	Files []File
	Argv  []string
}

// PromptMode says how a command gets the task.
type PromptMode string

// The ways. An argument stands behind "--", so that no task is an option.
const (
	PromptNone     PromptMode = "none"
	PromptArgument PromptMode = "argument"
	PromptStdin    PromptMode = "stdin"
)

// Command starts the agent. Nothing of it goes through a shell. Without Argv
// there is no such command.
type Command struct {
	Argv   []string   `json:"argv"`
	Prompt PromptMode `json:"prompt"`
}
