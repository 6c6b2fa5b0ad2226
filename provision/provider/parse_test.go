package provider

import (
	"errors"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// good is a file that uses every key.
const good = `
description: An agent
program: {name: agent, install: install it}
image: docker.io/library/agent:1
env: {AGENT_HOME: "{{home}}/.agent"}
routes:
  - host: docs.example.com
    matches: [{methods: [GET]}]
auth_token:
  scheme: Bearer
  route: {host: api.example.com}
  env: {AGENT_TOKEN: placeholder-token}
  files: [{path: .agent/auth.json, format: json, content: {token: placeholder-token}}]
prompt: {file: .agent/prompt.md, argv: [--prompt, "{{prompt_file}}"]}
skills: .agent/skills
files:
  - path: .agent/config.toml
    mode: "0644"
    format: toml
    content: {trust: ["{{workspace}}"], depth: 3, on: true, ui: {title: "{{label}}"}}
supervise:
  files: [{path: .agent/config.toml, mode: "0644", format: toml, content: {mcp: {url: "{{supervise_url}}"}}}]
  argv: [agent, mcp, add, "{{supervise_url}}"]
bottles:
  argv: [agent, mcp, add, "{{bottles_url}}"]
interactive: {argv: [agent], prompt: argument}
headless: {argv: [agent, run], prompt: stdin}
`

func TestParse(t *testing.T) {
	p, err := Parse("own", "own.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(p, Settings{AuthToken: "TOKEN", Label: `x"y`, SystemPrompt: true, SuperviseURL: "http://127.0.0.1:9100/", BottlesURL: "http://127.0.0.1:9101/mcp"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Routes) != 2 || r.Routes[1].Auth.TokenRef != "TOKEN" || r.Routes[0].Auth != nil {
		t.Errorf("routes %+v", r.Routes)
	}
	want := map[string]string{
		".agent/auth.json":   "{\n  \"token\": \"placeholder-token\"\n}\n",
		".agent/config.toml": "depth = 3\non = true\ntrust = [\"/home/agent\"]\n\n[mcp]\nurl = \"http://127.0.0.1:9100/\"\n\n[ui]\ntitle = \"x\\\"y\"\n",
	}
	for _, f := range r.Files {
		if f.Content != want[f.Path] {
			t.Errorf("%s is\n%s", f.Path, f.Content)
		}
		delete(want, f.Path)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if got := strings.Join(r.SuperviseArgv, " "); got != "agent mcp add http://127.0.0.1:9100/" {
		t.Errorf("registration %q", got)
	}
	if got := strings.Join(r.BottlesArgv, " "); got != "agent mcp add http://127.0.0.1:9101/mcp" {
		t.Errorf("registration %q", got)
	}
	if r.Env["AGENT_HOME"] != "/home/agent/.agent" || r.Env["AGENT_TOKEN"] != "placeholder-token" {
		t.Errorf("environment %v", r.Env)
	}
}

// TestBad tries what a provider's file must not say.
func TestBad(t *testing.T) {
	const cmd = "interactive: {argv: [sh]}\n"
	file := func(s string) string { return cmd + "files:\n  - " + s + "\n" }
	tests := []struct{ name, text, want string }{
		{"empty", "", "it is empty"},
		{"only a comment", "# nothing\n", "it is empty"},
		{"a list", "- a\n", ":1: the file must be a mapping"},
		{"malformed", "a: [\n", "the YAML is malformed"},
		{"two documents", cmd + "---\n" + cmd, "write one document"},
		{"unknown key", cmd + "skill: x\n", `x.yaml:2: skill: the key is not known; did you mean "skills"? allowed here: auth_token, bottles, description, dockerfile, env, files, forward_host_credentials, headless, image, interactive, program, prompt, routes, skills, supervise`},
		{"key twice", cmd + "skills: a\nskills: b\n", "x.yaml:3: skills: the key stands twice, first in line 2"},
		{"alias", "description: &a x\nskills: *a\n", "YAML aliases (*name) are not accepted"},
		{"tag", "description: !!str x\n", "YAML tags (!name) are not accepted"},
		{"tab", cmd + "description: a\tb\n", "x.yaml:2: there is a tab"},
		{"directive", "%YAML 1.2\n", "YAML directives are not accepted"},
		{"control", cmd + "description: a\x01b\n", "x.yaml:2: there is a control character"},
		{"not UTF-8", cmd + "description: \xff\n", "x.yaml:2: it is not UTF-8"},
		{"description of lines", cmd + `description: "a\nb"` + "\n", "it must be one line"},
		{"program with a path", cmd + "program: {name: /bin/sh}\n", `"/bin/sh" is not the name of a program`},
		{"program that is an option", cmd + "program: {name: -x}\n", "is not the name of a program"},
		{"program without a command", "program: {name: agent}\n", "a program that no command starts"},
		{"image that is an option", cmd + "image: --privileged\n", "is not the name of an image"},
		{"user is root", cmd + "user: root\n", "is not a user who can work in a guest"},
		{"user is root by number", cmd + "user: \"0\"\n", "is not a user who can work in a guest"},
		{"user with a group", cmd + "user: dev:staff\n", "is not a user who can work in a guest"},
		{"dockerfile elsewhere", cmd + "dockerfile: ../Dockerfile\n", "is not the name of a file"},
		{"dockerfile absolute", cmd + "dockerfile: /etc/passwd\n", "is not the name of a file"},
		{"image and dockerfile", cmd + "image: a\ndockerfile: b\n", "image and dockerfile both say"},
		{"env name", cmd + "env: {A-B: x}\n", `x.yaml:2: env.A-B: "A-B" is not the name of a variable`},
		{"env number", cmd + "env: {A: 1}\n", "it must be a string, but it is a number; put it in quotes"},
		{"env variable", cmd + "env: {A: \"{{secret}}\"}\n", `"secret" is no variable here; known: home, user, workspace, prompt_file`},
		{"env label", cmd + "env: {A: \"{{label}}\"}\n", `"label" is no variable here`},
		{"env credential", cmd + "env: {A: ghp_abcdefghijklmnopqrstuvwxyz0123456789}\n", "it looks like a credential"},
		{"route without a host", cmd + "routes: [{ports: [1]}]\n", "a route needs a host"},
		{"route to an address", cmd + "routes: [{host: 10.0.0.1}]\n", "an address as host needs the same address under private"},
		{"route twice", cmd + "routes: [{host: a.example}, {host: A.example}]\n", `host "a.example" has a route already`},
		{"route of all", cmd + "routes: [{host: '*'}]\n", "is not a host"},
		{"no routes", cmd + "routes: []\n", "it must not be empty; remove the key for no routes"},
		{"login without a route", cmd + "auth_token: {scheme: Bearer}\n", "a login needs a route"},
		{"login without a scheme", cmd + "auth_token: {route: {host: a.example}}\n", "a login needs a scheme"},
		{"login with another scheme", cmd + "auth_token: {scheme: Basic, route: {host: a.example}}\n", `"Basic" is not accepted`},
		{"login with auth of its own", cmd + "auth_token: {scheme: Bearer, route: {host: a.example, auth: {scheme: Bearer, token_ref: X_TOKEN}}}\n", "the route of a login has no auth of its own"},
		{"token with a format", cmd + "auth_token: {scheme: Bearer, format: claude, route: {host: a.example}}\n", "auth_token.format: the key is not known"},
		{"host login without a format", cmd + "forward_host_credentials: {scheme: Bearer, route: {host: a.example}}\n", "a login of the host needs a format; known: claude, codex"},
		{"host login of another format", cmd + "forward_host_credentials: {scheme: Bearer, format: ssh, route: {host: a.example}}\n", "allowed here: claude, codex"},
		{"host login with a path", cmd + "forward_host_credentials: {scheme: Bearer, format: codex, path: /etc/shadow, route: {host: a.example}}\n", "forward_host_credentials.path: the key is not known"},
		{"prompt without a file", cmd + "prompt: {argv: [--x]}\n", "arguments that read a prompt need a file"},
		{"prompt outside", cmd + "prompt: {file: ../prompt.md}\n", `".." would lead out of the guest's home`},
		{"skills absolute", cmd + "skills: /usr/share\n", "an absolute one could lead out of it"},
		{"skills in the workspace", cmd + "skills: workspace/.skills\n", "nothing is written into it"},
		{"skills around a file", cmd + "skills: .a\nfiles: [{path: .a/b, content: x}]\n", `".a/b" and the skills at ".a" lie in each other`},
		{"prompt is a file", cmd + "prompt: {file: .a}\nfiles: [{path: .a, content: x}]\n", `the prompt and a file are both at ".a"`},
		{"file without content", file("{path: .a}"), "a file needs a path and a content"},
		{"file without a path", file("{content: x}"), "a file needs a path and a content"},
		{"file absolute", file("{path: /etc/passwd, content: x}"), "files[0].path: \"/etc/passwd\" is not accepted"},
		{"file upwards", file("{path: .a/../../b, content: x}"), `".." would lead out`},
		{"file in another home", file("{path: ~root/.bashrc, content: x}"), `leave "~" out`},
		{"file by a variable", file(`{path: "{{home}}/x", content: x}`), "no variables"},
		{"file with a backslash", file(`{path: 'a\b', content: x}`), `no '\'`},
		{"file with an empty part", file("{path: a//b, content: x}"), "no empty parts"},
		{"file that is the home", file("{path: ., content: x}"), `no "."`},
		{"file that ends with a slash", file("{path: a/, content: x}"), "no empty parts"},
		{"file with a line feed", file(`{path: "a\nb", content: x}`), "no control characters"},
		{"file that is long", file("{path: " + strings.Repeat("a", 300) + ", content: x}"), "1 to 255 bytes"},
		{"file twice", file("{path: .a, content: x}\n  - {path: .a, content: y}"), `the file ".a" stands twice`},
		{"file in a file", file("{path: .a, content: x}\n  - {path: .a/b, content: y}"), `".a" and ".a/b" lie in each other`},
		{"mode of a number", file("{path: .a, mode: 0644, content: x}"), "it must be a string"},
		{"mode for all", file(`{path: .a, mode: "0666", content: x}`), `"0666" is not accepted`},
		{"mode with set-id", file(`{path: .a, mode: "4755", content: x}`), `"4755" is not accepted`},
		{"mode without reading", file(`{path: .a, mode: "0200", content: x}`), `"0200" is not accepted`},
		{"format", file("{path: .a, format: yaml, content: x}"), "allowed here: json, toml, text"},
		{"json as text", file(`{path: .a, format: json, content: "{}"}`), "the content of a json file is a mapping"},
		{"text as a mapping", file("{path: .a, content: {a: b}}"), "it must be a string, but it is a mapping"},
		{"content of nothing", file("{path: .a, format: json, content: {a: null}}"), "files[0].content.a: it must be text, a whole number"},
		{"content of a fraction", file("{path: .a, format: json, content: {a: 1.5}}"), "it must be text, a whole number"},
		{"content with another variable", file(`{path: .a, format: json, content: {a: "{{env.HOME}}"}}`), "is no variable here"},
		{"content with a label as key", file(`{path: .a, format: json, content: {"{{label}}": 1}}`), `"label" is no variable here`},
		{"content with an open variable", file(`{path: .a, content: "{{home"}`), `"{{" is not closed`},
		{"content with a closed one", file(`{path: .a, content: "home}}"}`), `"}}" without "{{"`},
		{"content with the supervisor", file(`{path: .a, content: "{{supervise_url}}"}`), `"supervise_url" is no variable here`},
		{"content with a credential", file(`{path: .a, format: json, content: {k: sk-ant-REALREALREAL}}`), "it looks like a credential"},
		{"toml of mappings in a list", file("{path: .a, format: toml, content: {a: [{b: c}]}}"), `TOML cannot say it: "a": a list may hold only single values`},
		{"supervise says nothing", cmd + "supervise: {}\n", "it says neither files nor argv"},
		{"supervise overwrites", cmd + "files: [{path: .a, format: json, content: {k: 1}}]\nsupervise: {files: [{path: .a, format: json, content: {k: 2}}]}\n", `the file ".a": "k" stands twice`},
		{"supervise in another format", cmd + "files: [{path: .a, format: json, content: {k: 1}}]\nsupervise: {files: [{path: .a, format: toml, content: {j: 2}}]}\n", "is written twice"},
		{"login overwrites", cmd + "files: [{path: .codex/auth.json, format: json, content: {k: 1}}]\nforward_host_credentials: {scheme: Bearer, format: codex, route: {host: a.example}}\n", `the file ".codex/auth.json" is written twice`},
		{"command without argv", "interactive: {prompt: argument}\n", "a command needs argv"},
		{"command that is a string", "interactive: {argv: sh -c x}\n", "it must be a list"},
		{"command of an option", "interactive: {argv: [-c, x]}\n", "argv begins with the program"},
		{"command of a variable", "interactive: {argv: ['{{workspace}}']}\n", "argv begins with the program"},
		{"command with a label", "interactive: {argv: [sh, '{{label}}']}\n", `"label" is no variable here`},
		{"interactive by stdin", "interactive: {argv: [sh], prompt: stdin}\n", "allowed here: none, argument"},
		{"headless without a prompt", "headless: {argv: [sh], prompt: none}\n", "allowed here: argument, stdin"},
	}
	if len(tests) < 40 {
		t.Fatalf("only %d cases", len(tests))
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("x", "x.yaml", []byte(tt.text))
			var one *manifest.Error
			if !errors.As(err, &one) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v\nwant %q", err, tt.want)
			}
			if !strings.HasPrefix(err.Error(), "x.yaml") {
				t.Errorf("no file in %v", err)
			}
			if strings.Contains(err.Error(), "ghp_abc") || strings.Contains(err.Error(), "REALREAL") {
				t.Errorf("a credential is in %v", err)
			}
		})
	}
}

// FuzzParse holds what is accepted to the promises of this package.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	for _, name := range BuiltIn() {
		data, err := builtin.ReadFile("builtin/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("x", "x.yaml", data)
		if err != nil {
			return
		}
		const hostile = "-rf \"]\n[x] {{home}}"
		s := Settings{Label: hostile, SystemPrompt: true, SuperviseURL: "http://127.0.0.1:1/", BottlesURL: "http://127.0.0.1:2/"}
		if p.AuthToken != nil {
			s.AuthToken = "X"
		}
		r, err := Resolve(p, s)
		if err != nil {
			t.Fatalf("it is accepted and cannot be resolved: %v", err)
		}
		for i, out := range r.Files {
			if checkPath(out.Path) != nil || out.Mode&^0o755 != 0 {
				t.Fatalf("file %+v", out)
			}
			if i > 0 && r.Files[i-1].Path == out.Path {
				t.Fatalf("file %q twice", out.Path)
			}
		}
		for _, argv := range [][]string{r.Interactive.Argv, r.Headless.Argv, r.SuperviseArgv, r.BottlesArgv} {
			for _, arg := range argv {
				if strings.Contains(arg, "-rf") && !strings.Contains(string(data), "-rf") {
					t.Fatalf("the label is an argument: %q", argv)
				}
			}
		}
	})
}
