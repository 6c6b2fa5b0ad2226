package provider

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// Settings are what a manifest and a launch say about the agent.
type Settings struct {
	// AuthToken names the host variable with the credential; ForwardHostCredentials
	// uses HostLogin instead. They exclude each other.
	AuthToken              string
	ForwardHostCredentials bool
	// HostLogin is needed with ForwardHostCredentials.
	HostLogin *HostLogin
	// Label is what people call the bottle, Colour one of Colours or "".
	Label  string
	Colour string
	// Account is who works in the guest; zero = whoever does by default.
	Account backend.Account
	// Workspace is where the agent starts, and the directory it trusts.
	Workspace string
	// SystemPrompt is true when there is one to be read.
	SystemPrompt bool
	// SuperviseURL is the supervisor's MCP server; "" = none.
	SuperviseURL string
	// BottlesURL is the MCP server for launching bottles; "" = it launches none.
	BottlesURL string
}

// Resolved is everything that has to be in a guest for one agent, in data. It
// holds no credential.
type Resolved struct {
	Provider    string  `json:"provider"`
	Description string  `json:"description,omitempty"`
	Program     Program `json:"program"`
	Home        string  `json:"home"`
	User        string  `json:"user"`
	// Image names an image; else Dockerfile is the text to build one from, and
	// DockerfilePath is where it stands when it is an operator's own.
	Image          string `json:"image,omitempty"`
	Dockerfile     string `json:"dockerfile,omitempty"`
	DockerfilePath string `json:"dockerfile_path,omitempty"`
	// Routes own their hosts. A TokenRef is a host variable or a LoginRef.
	Routes []manifest.Route  `json:"routes"`
	Env    map[string]string `json:"env"`
	// LoginEnv names the variables that hold placeholders; nothing else may set
	// them. Placeholders are all texts in the guest that stand for a credential:
	// whoever looks for leaks will meet them, and they are none.
	LoginEnv     []string `json:"login_env"`
	Placeholders []string `json:"placeholders"`
	Files        []Output `json:"files"`
	// PromptFile and SkillsDir are absolute in the guest; "" = the agent has none.
	PromptFile    string   `json:"prompt_file,omitempty"`
	SkillsDir     string   `json:"skills_dir,omitempty"`
	SuperviseArgv []string `json:"supervise_argv,omitempty"`
	BottlesArgv   []string `json:"bottles_argv,omitempty"`
	Interactive   Command  `json:"interactive"`
	Headless      Command  `json:"headless"`
}

// Output is a file as it has to be, below the guest's home.
type Output struct {
	Path    string `json:"path"`
	Mode    uint32 `json:"mode"`
	Content string `json:"content"`
}

// SettingError is a setting that a provider cannot have.
type SettingError struct {
	Key     string // of agent_provider, such as "auth_token"
	Problem string
}

func (e *SettingError) Error() string { return "agent_provider." + e.Key + ": " + e.Problem }

// loginRef is no name of a variable, so a reference to a login is no variable.
const loginRef = "login of the host: "

// LoginRef is the TokenRef of a route whose credential is a login of this host.
func LoginRef(format string) string { return loginRef + format }

// CutLoginRef gives the format of a LoginRef.
func CutLoginRef(ref string) (format string, ok bool) { return strings.CutPrefix(ref, loginRef) }

// Resolve puts a provider and settings together. It is pure. An error is a
// *SettingError.
func Resolve(p *Provider, s Settings) (*Resolved, error) {
	l, ref, err := p.login(s)
	if err != nil {
		return nil, err
	}
	if s.ForwardHostCredentials && (s.HostLogin == nil || s.HostLogin.Format != l.Format) {
		return nil, &SettingError{Key: "forward_host_credentials", Problem: "the login of this host was not read"}
	}
	if s.Colour != "" && !slices.Contains(Colours(), s.Colour) {
		return nil, &SettingError{Key: "template", Problem: fmt.Sprintf("%.20q is no colour; known: %s", s.Colour, strings.Join(Colours(), ", "))}
	}
	account := s.Account
	if account == (backend.Account{}) {
		account = backend.DefaultAccount()
	}
	r := &Resolved{
		Provider: p.Name, Description: p.Description, Program: p.Program, Home: account.Home, User: account.Name,
		Image: p.Image, Dockerfile: p.Dockerfile, DockerfilePath: p.DockerfilePath,
		Routes: p.withLogin(l, ref), Env: map[string]string{}, LoginEnv: []string{}, Placeholders: []string{},
	}
	if p.Prompt.File != "" {
		r.PromptFile = path.Join(r.Home, p.Prompt.File)
	}
	if p.Skills != "" {
		r.SkillsDir = path.Join(r.Home, p.Skills)
	}
	vars := r.variables(s)
	sets := [][]File{p.Files}
	for name, value := range p.Env {
		r.Env[name] = expand(value, vars)
	}
	if l != nil {
		sets = append(sets, l.Files)
		r.logIn(l, vars)
		if s.ForwardHostCredentials {
			sets = append(sets, []File{s.HostLogin.placeholder})
			r.Placeholders = append(r.Placeholders, s.HostLogin.placeholders...)
		}
	}
	if p.Supervise != nil && s.SuperviseURL != "" {
		sets = append(sets, p.Supervise.Files)
		r.SuperviseArgv = expandAll(p.Supervise.Argv, vars)
	}
	if p.Bottles != nil && s.BottlesURL != "" {
		sets = append(sets, p.Bottles.Files)
		r.BottlesArgv = expandAll(p.Bottles.Argv, vars)
	}
	if r.Files, err = output(sets, vars); err != nil {
		return nil, err
	}
	r.commands(p, s, vars)
	return r, nil
}

// logIn takes over what stands for the credential in the guest.
func (r *Resolved) logIn(l *Login, vars map[string]string) {
	stands := func(text string, isKey bool) {
		if !isKey && strings.Contains(text, placeholderMark) && !slices.Contains(r.Placeholders, text) {
			r.Placeholders = append(r.Placeholders, text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Env)) {
		r.Env[name] = expand(l.Env[name], vars)
		r.LoginEnv = append(r.LoginEnv, name)
		stands(r.Env[name], false)
	}
	for _, f := range l.Files {
		eachString(f.Content, stands)
	}
}

// RoutesFor are the routes that Resolve gives, without the login itself. An error
// is a *SettingError.
func (p *Provider) RoutesFor(s Settings) ([]manifest.Route, error) {
	l, ref, err := p.login(s)
	if err != nil {
		return nil, err
	}
	return p.withLogin(l, ref), nil
}

// withLogin adds a login's route. It decides its host, whatever was said of it
// before.
func (p *Provider) withLogin(l *Login, ref string) []manifest.Route {
	routes := slices.Clone(p.Routes)
	if l == nil {
		return routes
	}
	route := l.Route
	route.Auth = &manifest.Auth{Scheme: l.Scheme, TokenRef: ref}
	routes = slices.DeleteFunc(routes, func(r manifest.Route) bool { return r.Host == route.Host })
	return append(routes, route)
}

// login chooses how the agent logs in; nil = not at all.
func (p *Provider) login(s Settings) (l *Login, ref string, err error) {
	switch {
	case s.AuthToken != "" && s.ForwardHostCredentials:
		return nil, "", &SettingError{Key: "auth_token", Problem: "it and forward_host_credentials exclude each other; keep one of them"}
	case s.AuthToken != "" && p.AuthToken == nil:
		return nil, "", &SettingError{Key: "auth_token", Problem: fmt.Sprintf("the provider %s has no host of its own to give the credential to; give it to a route with egress.routes[].auth", p.Name)}
	case s.ForwardHostCredentials && p.HostLogin == nil:
		return nil, "", &SettingError{Key: "forward_host_credentials", Problem: fmt.Sprintf("the provider %s has no login of this host; %s", p.Name, p.instead())}
	case s.AuthToken != "":
		return p.AuthToken, s.AuthToken, nil
	case s.ForwardHostCredentials:
		return p.HostLogin, LoginRef(p.HostLogin.Format), nil
	}
	return nil, "", nil
}

// instead says which login the provider does have.
func (p *Provider) instead() string {
	if p.AuthToken != nil {
		return "name a host variable with the credential in agent_provider.auth_token"
	}
	return "give a credential to a route with egress.routes[].auth"
}

func (r *Resolved) variables(s Settings) map[string]string {
	workspace := s.Workspace
	if workspace == "" {
		workspace = r.Home
	}
	return map[string]string{
		varHome: r.Home, varUser: r.User, varWorkspace: workspace, varPromptFile: r.PromptFile,
		varLabel: plainLine(s.Label), varBanner: banner(s.Label, s.Colour), varSuperviseURL: s.SuperviseURL, varBottlesURL: s.BottlesURL,
	}
}

// output renders the files, sorted by path.
func output(sets [][]File, vars map[string]string) ([]Output, error) {
	files, err := together(sets...)
	if err != nil {
		return nil, err
	}
	out := make([]Output, 0, len(files))
	for _, f := range files {
		o := Output{Path: f.Path, Mode: f.Mode}
		switch content := f.Content.(type) {
		case string:
			o.Content = expand(content, vars)
		case map[string]any:
			table, _ := expandTree(content, vars).(map[string]any)
			data := encodeTOML(table)
			if f.Format == FormatJSON {
				if data, err = encodeJSON(table); err != nil {
					return nil, fmt.Errorf("write %s: %w", f.Path, err)
				}
			}
			o.Content = string(data)
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b Output) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// commands adds the arguments that read the system prompt.
func (r *Resolved) commands(p *Provider, s Settings, vars map[string]string) {
	r.Interactive, r.Headless = p.Interactive, p.Headless
	for _, c := range []*Command{&r.Interactive, &r.Headless} {
		if len(c.Argv) == 0 {
			c.Argv, c.Prompt = nil, PromptNone
			continue
		}
		c.Argv = expandAll(c.Argv, vars)
		if s.SystemPrompt {
			c.Argv = append(c.Argv, expandAll(p.Prompt.Argv, vars)...)
		}
	}
}
