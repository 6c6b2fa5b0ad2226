package provision

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
)

// ProviderPlan says how the agent of a bottle is set up: what is in the guest by
// name, and how it is started. It holds no credential.
type ProviderPlan struct {
	Provider    string `json:"provider"`
	Description string `json:"description,omitempty"`
	// Login says which credential goes to which host, such as "Bearer from $X to
	// api.example.com"; "" = none.
	Login string `json:"login,omitempty"`
	// Replaces are hosts whose routes of the manifest the provider's replace.
	Replaces []string `json:"replaces"`
	EnvNames []string `json:"env_names"`
	// Files, PromptFile, TaskFile and SkillsDir are absolute in the guest. What the
	// launch has no text for is not there.
	Files      []string `json:"files"`
	PromptFile string   `json:"prompt_file,omitempty"`
	TaskFile   string   `json:"task_file,omitempty"`
	SkillsDir  string   `json:"skills_dir,omitempty"`
	Skills     []string `json:"skills"`
	// Interactive and Headless start the agent; without argv there is no such
	// command.
	Interactive provider.Command `json:"interactive"`
	Headless    provider.Command `json:"headless"`
}

// taskFile is where a task stands that was given with the launch, for whoever
// starts the agent.
const taskFile = backend.AgentHome + "/.bottle/task.md"

// agentPlan is what the launch of an agent needs.
type agentPlan struct {
	provider *provider.Provider
	settings provider.Settings // without HostLogin
	routes   []manifest.Route
	env      map[string]string
	prompt   string // where its system prompt goes
	task     string
	skills   []skill
}

// digested is what of an agent decides what the bottle is. When a login ends is
// not among it: it is renewed under the same bottle.
func (a *agentPlan) digested() any {
	if a == nil {
		return nil
	}
	var skills []string
	for _, s := range a.skills {
		skills = append(skills, s.name)
	}
	return struct {
		Provider *provider.Provider
		Settings provider.Settings
		Task     string
		Skills   []string
	}{a.provider, a.settings, a.task, skills}
}

// providerName is the agent's provider. An agent with skills needs a place for
// them, so one without a provider gets the one for any command. a may be nil.
func providerName(b *manifest.Bottle, a *manifest.Agent) string {
	if b.Provider.Template == "" && a != nil && len(a.Skills) > 0 {
		return provider.Generic
	}
	return b.Provider.Template
}

// providerField names a key of a manifest for an error.
func providerField(key string) string { return "agent_provider." + key + " of the manifest" }

// provider resolves the bottle's provider, if it has one.
func (d *draft) provider() {
	set := d.bottle.Provider
	name := providerName(d.bottle, d.agent)
	if name == "" {
		if set.AuthToken != "" || set.ForwardHostCredentials {
			d.fail(providerField("template"), "a login is declared for no agent; name its provider: %s", strings.Join(d.m.providers.Names(), ", "))
		}
		return
	}
	p, err := d.m.providers.Load(name)
	if err != nil {
		d.problems = append(d.problems, err)
		return
	}
	s := provider.Settings{
		AuthToken: set.AuthToken, ForwardHostCredentials: set.ForwardHostCredentials, Colour: d.req.Colour,
		Label: cmp.Or(d.plan.Label, d.plan.Agent, strings.Join(d.plan.Bottles, ", ")),
	}
	if d.plan.Workspace != nil {
		s.Workspace = d.plan.Workspace.Guest
	}
	if d.agent != nil {
		s.SystemPrompt = d.agent.Prompt != ""
	}
	r, err := d.m.resolve(p, s)
	if err != nil {
		d.problems = append(d.problems, asInvalid(err))
		return
	}
	a := &agentPlan{provider: p, settings: s, routes: r.Routes, env: r.Env, prompt: r.PromptFile, task: strings.TrimSpace(d.req.Prompt)}
	d.r.agent, d.r.prompt = a, ""
	if d.agent != nil {
		d.r.prompt = d.agent.Prompt
		a.skills = d.skills(d.agent.Skills, r)
	}
	d.plan.Provider = d.agentPlan(a, r)
	d.agentEnv(r)
	d.agentProgram(p)
	d.agentImage(r)
}

// resolve reads the login that the settings ask for and resolves the provider.
func (m *Manager) resolve(p *provider.Provider, s provider.Settings) (*provider.Resolved, error) {
	if s.ForwardHostCredentials && p.HostLogin != nil && s.AuthToken == "" {
		login, err := m.hostLogin(p.HostLogin.Format)
		if err != nil {
			return nil, err
		}
		s.HostLogin = login
	}
	return provider.Resolve(p, s)
}

func (m *Manager) hostLogin(format string) (*provider.HostLogin, error) {
	return provider.ReadHostLogin(format, provider.Host{LookupEnv: m.cfg.LookupEnv, Now: m.cfg.Now()})
}

// asInvalid says which key of the manifest an error is about.
func asInvalid(err error) error {
	var setting *provider.SettingError
	var login *provider.LoginError
	switch {
	case errors.As(err, &setting):
		return &InvalidError{Field: providerField(setting.Key), Problem: setting.Problem}
	case errors.As(err, &login):
		return &InvalidError{Field: providerField("forward_host_credentials"), Problem: login.Error(), cause: err}
	}
	return err
}

// agentPlan shows what is put where, by name.
func (d *draft) agentPlan(a *agentPlan, r *provider.Resolved) *ProviderPlan {
	out := &ProviderPlan{
		Provider: r.Provider, Description: r.Description, Replaces: []string{}, EnvNames: slices.Sorted(maps.Keys(r.Env)),
		Files: []string{}, Skills: []string{}, Interactive: r.Interactive, Headless: r.Headless,
	}
	if out.EnvNames == nil {
		out.EnvNames = []string{}
	}
	for _, f := range r.Files {
		out.Files = append(out.Files, path.Join(r.Home, f.Path))
	}
	for _, s := range a.skills {
		out.SkillsDir = r.SkillsDir
		out.Skills = append(out.Skills, s.name)
	}
	if d.r.prompt != "" {
		out.PromptFile = r.PromptFile
	}
	if a.task != "" {
		out.TaskFile = taskFile
	}
	for _, route := range r.Routes {
		if route.Auth != nil {
			out.Login = authWords(*route.Auth) + " to " + route.Host
		}
		if slices.ContainsFunc(d.bottle.Routes, func(m manifest.Route) bool { return m.Host == route.Host }) {
			out.Replaces = append(out.Replaces, route.Host)
		}
	}
	return out
}

// agentEnv refuses variables that two sides want to set.
func (d *draft) agentEnv(r *provider.Resolved) {
	for _, name := range slices.Sorted(maps.Keys(r.Env)) {
		if reservedEnv(name) {
			d.fail(providerField("template"), "the provider %s sets the variable %s, which is the bottle's own wiring; take it out of the provider's file", r.Provider, name)
		}
	}
	for _, name := range r.LoginEnv {
		if _, both := d.bottle.Env[name]; both {
			d.fail("env "+name+" of the manifest", "the login of the provider %s puts a placeholder there, and a credential in its place would be in the guest; remove it from env", r.Provider)
		}
	}
}

// withAgent are the routes of the bottle and its provider.
func (d *draft) withAgent() []manifest.Route {
	if d.r.agent == nil {
		return d.bottle.Routes
	}
	routes, _ := effective(d.bottle.Routes, d.r.agent.routes)
	return routes
}

// effective puts a provider's routes among the manifest's. A provider's owns its
// host. from are the places of the routes in the manifest, -1 for the provider's.
func effective(manifests, providers []manifest.Route) (routes []manifest.Route, from []int) {
	for i, m := range manifests {
		if !slices.ContainsFunc(providers, func(p manifest.Route) bool { return p.Host == m.Host }) {
			routes, from = append(routes, m), append(from, i)
		}
	}
	for _, p := range providers {
		routes, from = append(routes, p), append(from, -1)
	}
	return routes, from
}

// agentProgram looks for the program where a guest has this host's own.
func (d *draft) agentProgram(p *provider.Provider) {
	if d.r.engine == nil || d.r.caps.Images || p.Program.Name == "" {
		return
	}
	search := baseEnv()["PATH"]
	if own, ok := d.bottle.Env["PATH"]; ok && own.Literal != "" {
		search = own.Literal
	}
	install := ""
	if p.Program.Install != "" {
		install = ": " + p.Program.Install
	}
	if hidden, ok := findProgram(p.Program.Name, search, d.r.caps.Guest.HostDirs); !ok {
		why := fmt.Sprintf("this host has no program %q in %s", p.Program.Name, search)
		if hidden != "" {
			why = fmt.Sprintf("the program %q of this host is %s, which no guest sees", p.Program.Name, hidden)
		}
		d.fail(providerField("template"), "%s, and backend %s runs this host's programs; install it for all users, below /usr%s", why, d.plan.Backend, install)
	}
}

// findProgram reports whether a program is where a guest finds it: in a directory
// of search, and itself in one of visible. Otherwise hidden is where it lies.
func findProgram(name, search string, visible []string) (hidden string, ok bool) {
	for dir := range strings.SplitSeq(search, ":") {
		if !filepath.IsAbs(dir) {
			continue
		}
		target, err := filepath.EvalSymlinks(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		info, err := os.Stat(target)
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			continue
		}
		if len(visible) == 0 || slices.ContainsFunc(visible, func(top string) bool { _, in := below(top, target); return in }) {
			return "", true
		}
		hidden = target
	}
	return hidden, false
}

// agentImage makes the guest from what the provider names, unless the manifest
// says otherwise.
func (d *draft) agentImage(r *provider.Resolved) {
	if !d.r.caps.Images || !d.bottle.Image.Zero() {
		return
	}
	switch {
	case r.Image != "":
		d.r.image, d.plan.Image = backend.ImageSpec{Reference: r.Image}, r.Image
	case r.DockerfilePath != "":
		d.r.image, d.plan.Image = backend.ImageSpec{Dockerfile: r.DockerfilePath}, d.dockerfileName(r.DockerfilePath)
	case r.Dockerfile != "":
		d.r.dockerfile, d.plan.Image = r.Dockerfile, "the Dockerfile of provider "+r.Provider
	}
}
