package agenthost

import (
	"os/exec"
	"strings"
	"testing"
)

func TestFiles(t *testing.T) {
	env := map[string]string{}
	place := func(goos string) Place {
		return Place{GOOS: goos, Home: "/h", Project: "/p", LookupEnv: func(name string) (string, bool) {
			value, ok := env[name]
			return value, ok
		}}
	}
	for _, tt := range []struct{ host, linux, darwin, project string }{
		{"claude", "/h/.claude.json", "/h/.claude.json", "/p/.mcp.json"},
		{"claude-desktop", "/h/.config/Claude/claude_desktop_config.json", "/h/Library/Application Support/Claude/claude_desktop_config.json", ""},
		{"codex", "/h/.codex/config.toml", "/h/.codex/config.toml", "/p/.codex/config.toml"},
		{"cursor", "/h/.cursor/mcp.json", "/h/.cursor/mcp.json", "/p/.cursor/mcp.json"},
		{"vscode", "/h/.config/Code/User/mcp.json", "/h/Library/Application Support/Code/User/mcp.json", "/p/.vscode/mcp.json"},
		{"gemini", "/h/.gemini/settings.json", "/h/.gemini/settings.json", "/p/.gemini/settings.json"},
		{"windsurf", "/h/.codeium/windsurf/mcp_config.json", "/h/.codeium/windsurf/mcp_config.json", ""},
	} {
		t.Run(tt.host, func(t *testing.T) {
			h := host(t, tt.host)
			for goos, want := range map[string]string{"linux": tt.linux, "darwin": tt.darwin} {
				if got, err := h.File(User, place(goos)); got != want || err != nil {
					t.Errorf("%s: %s, %v, want %s", goos, got, err, want)
				}
			}
			got, err := h.File(Project, place("linux"))
			if got != tt.project || (err != nil) != (tt.project == "") || (len(h.Scopes()) == 2) != (tt.project != "") {
				t.Errorf("project: %s, %v", got, err)
			}
			if _, err := h.File("machine", place("linux")); err == nil {
				t.Error("any scope is accepted")
			}
		})
	}
	env["CODEX_HOME"], env["CLAUDE_CONFIG_DIR"], env["XDG_CONFIG_HOME"] = "/codex", "/claude", "relative"
	for name, want := range map[string]string{"codex": "/codex/config.toml", "claude": "/claude/.claude.json", "vscode": "/h/.config/Code/User/mcp.json"} {
		if got, _ := host(t, name).File(User, place("linux")); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	if _, err := Find("emacs"); err == nil || !strings.Contains(err.Error(), "claude, claude-desktop, codex, cursor, vscode, gemini, windsurf") {
		t.Errorf("%v", err)
	}
}

func TestServerCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		host string
		edit func(*Server)
		want string
	}{
		"name":            {"claude", func(s *Server) { s.Name = "a b" }, "cannot be the name"},
		"empty name":      {"claude", func(s *Server) { s.Name = "" }, "cannot be the name"},
		"long name":       {"codex", func(s *Server) { s.Name = strings.Repeat("a", 33) }, "cannot be the name"},
		"relative":        {"claude", func(s *Server) { s.Command = "bottle-mcp" }, "absolute"},
		"another name":    {"claude", func(s *Server) { s.Command = "/bin/milk" }, "known again"},
		"newline":         {"codex", func(s *Server) { s.Args = []string{"serve", "a\nb"} }, "no configuration can"},
		"not UTF-8":       {"codex", func(s *Server) { s.Args = []string{"serve", "\xff"} }, "no configuration can"},
		"dollar":          {"claude", func(s *Server) { s.Args = []string{"serve", "/a/${HOME}"} }, "'$'"},
		"another folder":  {"claude", func(s *Server) { s.Args = []string{"serve", "${workspaceFolder}"} }, "'$'"},
		"value":           {"claude", func(s *Server) { s.Env = []string{"A=secret"} }, "never written"},
		"no form of them": {"claude-desktop", func(s *Server) { s.Env = []string{"A"} }, "cannot pass a variable"},
		"its own folder":  {"vscode", func(s *Server) { s.Args = []string{"serve", "${workspaceFolder}"} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := server()
			tt.edit(&s)
			_, _, err := host(t, tt.host).Install(nil, s, true)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAddCommand(t *testing.T) {
	plain := Server{Name: "bottle", Command: "/o p/bottle-mcp", Args: []string{"serve"}}
	env := plain
	env.Env = []string{"TOKEN"}
	for name, tt := range map[string]struct {
		host  string
		s     Server
		scope Scope
		want  string
	}{
		"claude":               {"claude", plain, User, `claude mcp add --scope user bottle -- '/o p/bottle-mcp' serve`},
		"claude and variables": {"claude", env, Project, `claude mcp add-json --scope project bottle '{"type": "stdio", "command": "/o p/bottle-mcp", "args": ["serve"], "env": {"TOKEN": "${TOKEN:-}"}}'`},
		"codex":                {"codex", plain, User, `codex mcp add bottle -- '/o p/bottle-mcp' serve`},
		"codex and variables":  {"codex", env, User, ``},
		"codex in a project":   {"codex", plain, Project, ``},
		"vscode":               {"vscode", env, User, `code --add-mcp '{"name": "bottle", "type": "stdio", "command": "/o p/bottle-mcp", "args": ["serve"], "env": {"TOKEN": "${env:TOKEN}"}}'`},
		"cursor":               {"cursor", plain, User, ``},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Shell(host(t, tt.host).AddCommand(tt.s, tt.scope)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestShellIsRead(t *testing.T) {
	argv := []string{"printf", `%s\n`, "", "a b", "it's", "$HOME", "`x`", "~", "*", "a=b", "é"}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", Shell(argv)).Output()
	if want := strings.Join(argv[2:], "\n") + "\n"; err != nil || string(out) != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
}
