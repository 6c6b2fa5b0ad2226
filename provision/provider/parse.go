package provider

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// Bounds of a provider's file.
const (
	maxEnv      = 64
	maxEnvValue = 4096
	maxRoutes   = 64
	maxFiles    = 32
	maxArgv     = 64
	maxArgument = 4096
	maxText     = 32 << 10
	maxLine     = 200
)

// ownHeader hints at where a credential's header is said.
const ownHeader = "remove it: the credential goes into the Authorization header by this block's scheme"

// Parse reads a provider's file.
func Parse(name, file string, data []byte) (*Provider, error) {
	p := &Provider{Name: name, File: file, Env: map[string]string{}}
	p.Interactive.Prompt, p.Headless.Prompt = PromptNone, PromptNone
	err := manifest.ParseYAML(file, data, func(n manifest.Node) {
		if n.Mapping(p.keys(), nil) {
			p.check(n)
		}
	})
	return p, err
}

func (p *Provider) keys() map[string]func(manifest.Node) {
	return map[string]func(manifest.Node){
		"description": func(n manifest.Node) { p.Description = n.Line(maxLine) },
		"program":     p.program,
		"image":       func(n manifest.Node) { p.Image = n.Image() },
		"dockerfile":  func(n manifest.Node) { p.DockerfilePath = fileName(n) },
		"user":        func(n manifest.Node) { p.User = guestUser(n) },
		"env":         func(n manifest.Node) { p.Env = env(n) },
		"routes":      func(n manifest.Node) { p.Routes = routes(n) },
		"auth_token":  func(n manifest.Node) { p.AuthToken = login(n, false) },
		"forward_host_credentials": func(n manifest.Node) {
			p.HostLogin = login(n, true)
		},
		"prompt":      p.prompt,
		"skills":      func(n manifest.Node) { p.Skills = guestPath(n) },
		"files":       func(n manifest.Node) { p.Files = files(n, fileVars) },
		"supervise":   func(n manifest.Node) { p.Supervise = registration(n, superviseVars, superviseArgs) },
		"bottles":     func(n manifest.Node) { p.Bottles = registration(n, bottlesVars, bottlesArgs) },
		"interactive": func(n manifest.Node) { p.Interactive = command(n, PromptNone, PromptArgument) },
		"headless":    func(n manifest.Node) { p.Headless = command(n, PromptArgument, PromptStdin) },
	}
}

// check judges the file as a whole.
func (p *Provider) check(n manifest.Node) {
	if p.Image != "" && p.DockerfilePath != "" {
		n.Fail("image and dockerfile both say what the guest is made from", "keep one of them")
	}
	if p.Program.Name != "" && len(p.Interactive.Argv)+len(p.Headless.Argv) == 0 {
		n.Fail("a program that no command starts", "add interactive or headless, or remove program")
	}
	for _, problem := range p.clashes() {
		n.Fail(problem, "give each its own place")
	}
}

var programName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)

func (p *Provider) program(n manifest.Node) {
	n.Mapping(map[string]func(manifest.Node){
		"name": func(n manifest.Node) {
			if s, ok := n.Str(); ok && !programName.MatchString(s) {
				n.Fail(fmt.Sprintf("%.80q is not the name of a program", s), "write its name without a path")
			} else {
				p.Program.Name = s
			}
		},
		"install": func(n manifest.Node) { p.Program.Install = n.Line(maxLine) },
	}, nil)
}

var plainFile = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// fileName reads the name of a file beside this one.
func fileName(n manifest.Node) string {
	s, ok := n.Str()
	if ok && !plainFile.MatchString(s) {
		n.Fail(fmt.Sprintf("%.80q is not the name of a file", s), "it stands beside this file and is named without a path")
		return ""
	}
	return s
}

var guestUserName = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_.-]{0,31}|[1-9][0-9]{0,8})$`)

// guestUser reads who works in the image. Nobody works as root.
func guestUser(n manifest.Node) string {
	s, ok := n.Str()
	if ok && (!guestUserName.MatchString(s) || s == "root") {
		n.Fail(fmt.Sprintf("%.80q is not a user who can work in a guest", s), "write the name or the number of a user of the image, not root's")
		return ""
	}
	return s
}

func guestPath(n manifest.Node) string {
	s, ok := n.Str()
	if !ok {
		return ""
	}
	if err := checkPath(s); err != nil {
		n.Fail(fmt.Sprintf("%.80q is not accepted: %v", s, err), `write for example ".config/agent/settings.json"`)
		return ""
	}
	return s
}

// template reads text with variables.
func template(n manifest.Node, most int, vars []string) string {
	s, ok := n.Str()
	if !ok {
		return ""
	}
	if err := checkText(s, most, vars); err != nil {
		n.Fail(err.Error(), "")
		return ""
	}
	return s
}

// checkText judges text that reaches a guest. Whatever looks like a credential
// must say itself that it is none.
func checkText(s string, most int, vars []string) error {
	if len(s) > most {
		return fmt.Errorf("it is longer than %d bytes", most)
	}
	if manifest.LooksSecret(s) && !strings.Contains(s, placeholderMark) {
		return fmt.Errorf("it looks like a credential, and it would be in the guest; a placeholder has the word %q in it", placeholderMark)
	}
	return checkTemplate(s, vars)
}

// placeholderMark is in every placeholder.
const placeholderMark = "placeholder"

// IsPlaceholder reports whether a text says that it stands for a credential.
func IsPlaceholder(text string) bool { return strings.Contains(text, placeholderMark) }

func env(n manifest.Node) map[string]string {
	out := map[string]string{}
	n.Named(maxEnv, "a mapping of names to values", func(name string, key, value manifest.Node) {
		if !manifest.ValidEnvName(name) {
			key.Fail(fmt.Sprintf("%.80q is not the name of a variable", name), "use letters, digits and '_'")
			return
		}
		out[name] = template(value, maxEnvValue, placeVars)
	})
	return out
}

func routes(n manifest.Node) []manifest.Route {
	var out []manifest.Route
	n.List(maxRoutes, "no routes", func(item manifest.Node) {
		r, ok := item.Route()
		if !ok {
			return
		}
		for _, other := range out {
			if other.Host == r.Host {
				item.Fail(fmt.Sprintf("host %q has a route already", r.Host), "merge the two")
				return
			}
		}
		out = append(out, r)
	})
	return out
}

// login reads one way to log in; host is the one that uses this host's own.
func login(n manifest.Node, host bool) *Login {
	l := &Login{Env: map[string]string{}}
	read := map[string]func(manifest.Node){
		"scheme": func(n manifest.Node) { l.Scheme = n.Choice("Bearer", "token") },
		"route": func(n manifest.Node) {
			r, ok := n.Route()
			if ok && r.Auth != nil {
				n.Fail("the route of a login has no auth of its own", ownHeader)
			}
			l.Route = r
		},
		"env":   func(n manifest.Node) { l.Env = env(n) },
		"files": func(n manifest.Node) { l.Files = files(n, placeVars) },
	}
	if host {
		read["format"] = func(n manifest.Node) { l.Format = n.Choice(loginFormats()...) }
	}
	clean := n.Clean(func() { n.Mapping(read, nil) })
	switch {
	case !clean:
	case l.Route.Host == "":
		n.Fail("a login needs a route", `write "route: {host: api.example.com}"`)
	case l.Scheme == "":
		n.Fail("a login needs a scheme", `write "scheme: Bearer"`)
	case host && l.Format == "":
		n.Fail("a login of the host needs a format", "known: "+strings.Join(loginFormats(), ", "))
	}
	return l
}

func (p *Provider) prompt(n manifest.Node) {
	n.Mapping(map[string]func(manifest.Node){
		"file": func(n manifest.Node) { p.Prompt.File = guestPath(n) },
		"argv": func(n manifest.Node) { p.Prompt.Argv = argv(n, placeVars) },
	}, nil)
	if p.Prompt.File == "" && len(p.Prompt.Argv) > 0 {
		n.Fail("arguments that read a prompt need a file", `write "file: .bottle/prompt.md"`)
	}
}

func argv(n manifest.Node, vars []string) []string {
	var out []string
	n.List(maxArgv, "no arguments", func(item manifest.Node) {
		out = append(out, template(item, maxArgument, vars))
	})
	return out
}

func command(n manifest.Node, modes ...PromptMode) Command {
	c := Command{Prompt: modes[0]}
	n.Mapping(map[string]func(manifest.Node){
		"argv": func(n manifest.Node) { c.Argv = argv(n, placeVars) },
		"prompt": func(n manifest.Node) {
			var allowed []string
			for _, m := range modes {
				allowed = append(allowed, string(m))
			}
			if mode := PromptMode(n.Choice(allowed...)); mode != "" {
				c.Prompt = mode
			}
		},
	}, nil)
	switch {
	case len(c.Argv) == 0:
		n.Fail("a command needs argv", `write "argv: [program, --flag]"`)
	case strings.HasPrefix(c.Argv[0], "-") || strings.Contains(c.Argv[0], "{{"):
		n.Fail("argv begins with the program", "put its name or absolute path first")
	}
	return c
}

// registration reads how the agent learns of an MCP server, with the variables that
// files and a command may have.
func registration(n manifest.Node, inFiles, inArgv []string) *Registration {
	r := &Registration{}
	n.Mapping(map[string]func(manifest.Node){
		"files": func(n manifest.Node) { r.Files = files(n, inFiles) },
		"argv":  func(n manifest.Node) { r.Argv = argv(n, inArgv) },
	}, nil)
	if len(r.Files)+len(r.Argv) == 0 {
		n.Fail("it says neither files nor argv", "say how the agent learns of the server, or remove the key")
	}
	return r
}
