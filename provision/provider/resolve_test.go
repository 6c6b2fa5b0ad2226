package provider

import (
	"errors"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

func TestResolveRefuses(t *testing.T) {
	tests := []struct {
		name, provider string
		settings       Settings
		key, want      string
	}{
		{"both logins", "claude", Settings{AuthToken: "A", ForwardHostCredentials: true}, "auth_token", "exclude each other"},
		{"no host of its own", "generic", Settings{AuthToken: "A"}, "auth_token", "egress.routes[].auth"},
		{"no login of the host", "pi", Settings{ForwardHostCredentials: true}, "forward_host_credentials", "name a host variable"},
		{"nor a token", "generic", Settings{ForwardHostCredentials: true}, "forward_host_credentials", "egress.routes[].auth"},
		{"login not read", "codex", Settings{ForwardHostCredentials: true}, "forward_host_credentials", "was not read"},
		{"login of another", "codex", Settings{ForwardHostCredentials: true, HostLogin: &HostLogin{Format: "claude"}}, "forward_host_credentials", "was not read"},
		{"colour", "generic", Settings{Colour: "\x1b[31m"}, "template", "known: red, green"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Resolve(load(t, tt.provider), tt.settings)
			var typed *SettingError
			if !errors.As(err, &typed) || typed.Key != tt.key || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestLoginOwnsItsHost shows that a login's route replaces the provider's other
// one for the host.
func TestLoginOwnsItsHost(t *testing.T) {
	p := &Provider{
		Routes:    []manifest.Route{{Host: "api.example.com", Ports: []int{8443}}, {Host: "docs.example.com"}},
		AuthToken: &Login{Scheme: "token", Route: manifest.Route{Host: "api.example.com"}},
	}
	r, err := Resolve(p, Settings{AuthToken: "X"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Routes) != 2 || r.Routes[1].Host != "api.example.com" || r.Routes[1].Ports != nil || r.Routes[1].Auth.Scheme != "token" {
		t.Errorf("routes %+v", r.Routes)
	}
	if len(p.Routes) != 2 || p.Routes[0].Host != "api.example.com" {
		t.Errorf("the provider was changed: %+v", p.Routes)
	}
}

func TestLoginRef(t *testing.T) {
	if format, ok := CutLoginRef(LoginRef("codex")); !ok || format != "codex" {
		t.Errorf("got %q, %t", format, ok)
	}
	if _, ok := CutLoginRef("HOST_VARIABLE"); ok || manifest.ValidEnvName(LoginRef("codex")) {
		t.Error("a login can be taken for a variable")
	}
}

func TestInvocation(t *testing.T) {
	long := strings.Repeat("x", maxPromptArgument+1)
	argument := Command{Argv: []string{"agent", "--flag"}, Prompt: PromptArgument}
	stdin := Command{Argv: []string{"agent", "-"}, Prompt: PromptStdin}
	none := Command{Argv: []string{"sh"}, Prompt: PromptNone}
	tests := []struct {
		name        string
		command     Command
		task        string
		argv, stdin string
		err         string
	}{
		{"argument", argument, "--help; rm -rf /", "agent --flag -- --help; rm -rf /", "", ""},
		{"argument left out", argument, "", "agent --flag", "", ""},
		{"argument too long", argument, long, "", "", "put it into a file"},
		{"stdin", stdin, long, "agent -", long, ""},
		{"stdin left out", stdin, "", "", "", "this command needs a prompt"},
		{"none", none, "", "sh", "", ""},
		{"none with a task", none, "x", "", "", "takes no prompt"},
		{"no command", Command{}, "x", "", "", "give one of your own"},
		{"NUL", stdin, "a\x00", "", "", "NUL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.command.With(tt.task)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || strings.Join(got.Argv, " ") != tt.argv || got.Stdin != tt.stdin {
				t.Errorf("got %q, %q, %v", got.Argv, got.Stdin, err)
			}
		})
	}
	if strings.Join(argument.Argv, " ") != "agent --flag" {
		t.Errorf("the command was changed: %q", argument.Argv)
	}
}
