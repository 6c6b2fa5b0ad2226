package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
)

// anAgent is set up like Claude Code is.
func anAgent() *provision.ProviderPlan {
	return &provision.ProviderPlan{
		Provider:    "like-claude",
		Interactive: provider.Command{Argv: []string{"agent", "--all"}, Prompt: provider.PromptArgument},
		Headless:    provider.Command{Argv: []string{"agent", "--print"}, Prompt: provider.PromptStdin},
	}
}

func TestRunAgent(t *testing.T) {
	generic := &provision.ProviderPlan{Provider: "generic", Interactive: provider.Command{Argv: []string{"sh"}, Prompt: provider.PromptNone}}
	for name, tt := range map[string]struct {
		provider *provision.ProviderPlan
		o        runOptions
		argv     []string
		input    string
		ran      []string
		stdin    string
		code     int
		says     string
	}{
		"its own program":      {provider: anAgent(), input: "keys", ran: []string{"agent", "--all"}, stdin: "keys"},
		"with arguments":       {provider: anAgent(), argv: []string{"-m", "x"}, ran: []string{"agent", "--all", "-m", "x"}},
		"with a task":          {provider: anAgent(), o: runOptions{prompt: "--do it"}, ran: []string{"agent", "--all", "--", "--do it"}},
		"headless":             {provider: anAgent(), o: runOptions{headless: true, prompt: "do it"}, input: "not this", ran: []string{"agent", "--print"}, stdin: "do it"},
		"headless, from stdin": {provider: anAgent(), o: runOptions{headless: true, prompt: "-"}, input: "typed task\n", ran: []string{"agent", "--print"}, stdin: "typed task\n"},
		"headless by argument": {
			provider: &provision.ProviderPlan{Headless: provider.Command{Argv: []string{"agent", "run"}, Prompt: provider.PromptArgument}},
			o:        runOptions{headless: true, prompt: "do it"}, argv: []string{"-v"}, input: "not this", ran: []string{"agent", "run", "-v", "--", "do it"},
		},
		"empty stdin":               {provider: anAgent(), o: runOptions{headless: true, prompt: "-"}, input: " \n", code: exitUsage, says: "holds no prompt"},
		"endless stdin":             {provider: anAgent(), o: runOptions{headless: true, prompt: "-"}, input: strings.Repeat("x", maxPrompt+1), code: exitUsage, says: "longer than"},
		"no provider":               {code: exitNoBottle, says: "agent_provider.template"},
		"no headless command":       {provider: generic, o: runOptions{headless: true, prompt: "p"}, code: exitNoBottle, says: "no such command"},
		"arguments of no command":   {provider: generic, o: runOptions{headless: true, prompt: "p"}, argv: []string{"x"}, code: exitNoBottle, says: "no such command"},
		"a task for who takes none": {provider: generic, o: runOptions{prompt: "p"}, code: exitNoBottle, says: "takes no prompt"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.provider = tt.provider
			var ran []string
			var got string
			f.exec = func(_ context.Context, cmd backend.Command, s backend.Streams) (provision.ExecResult, error) {
				ran = cmd.Argv
				if s.Stdin != nil {
					text, err := io.ReadAll(s.Stdin)
					if err != nil {
						return provision.ExecResult{}, err
					}
					got = string(text)
				}
				return provision.ExecResult{Status: backend.ExitStatus{Code: 7}}, nil
			}
			c := newFakeCLI(t, f)
			c.con.in = strings.NewReader(tt.input)
			tt.o.agent, tt.o.attach = "web", true
			err := c.run(context.Background(), tt.o, tt.argv)
			if tt.code != 0 {
				printError(c.con.err, style{}, err)
				if exitCode(err) != tt.code || !strings.Contains(c.err.String(), tt.says) || len(f.bottles)+len(f.removed) > 0 {
					t.Errorf("code %d: %s; bottles %v", exitCode(err), c.err.String(), f.bottles)
				}
				return
			}
			if exitCode(err) != 7 || !slices.Equal(ran, tt.ran) || got != tt.stdin {
				t.Errorf("%v; ran %q with %q, want %q with %q", err, ran, got, tt.ran, tt.stdin)
			}
			if f.request.Agent != "web" || len(f.removed) != 1 {
				t.Errorf("asked for %+v, removed %v", f.request, f.removed)
			}
		})
	}
}

func TestRunKeep(t *testing.T) {
	f := newFake()
	f.exec = func(context.Context, backend.Command, backend.Streams) (provision.ExecResult, error) {
		return provision.ExecResult{Status: backend.ExitStatus{Code: 3}}, nil
	}
	c := newFakeCLI(t, f)
	if err := c.run(context.Background(), runOptions{keep: true}, []string{"cmd"}); exitCode(err) != 3 {
		t.Errorf("%v", err)
	}
	if len(f.removed) > 0 || len(f.bottles) != 1 || !strings.Contains(c.err.String(), "bottle fake-1 is kept until ") || !strings.Contains(c.err.String(), "'bottle-mcp cleanup fake-1'") {
		t.Errorf("removed %v, stderr %q", f.removed, c.err.String())
	}
}

func TestRunAgentFlags(t *testing.T) {
	f := newFake()
	f.provider = anAgent()
	c := newFakeCLI(t, f)
	o := runOptions{agent: "web", attach: true, dryRun: true, label: "mine", colour: "red", bottles: []string{"a", "b"}, prompt: "p", cwd: true}
	if err := c.run(context.Background(), o, []string{"-x"}); err != nil {
		t.Fatal(err)
	}
	r := f.request
	if r.Agent != "web" || r.Label != "mine" || r.Colour != "red" || !slices.Equal(r.Bottles, []string{"a", "b"}) || r.Prompt != "p" || !strings.HasPrefix(r.Workspace, "/") || !r.Asks {
		t.Errorf("asked for %+v", r)
	}
	if !strings.Contains(c.out.String(), "\nRuns: agent --all -x -- p.\n") {
		t.Errorf("stdout:\n%s", c.out.String())
	}
}

func TestRunNamesWhatWasMeant(t *testing.T) {
	c := newFakeCLI(t, newFake())
	err := (&runOptions{}).arguments([]string{"./run.sh", "x"}, -1)
	printError(c.con.err, style{}, err)
	if !strings.Contains(c.err.String(), "hint: a command stands behind '--': bottle-mcp run -- ./run.sh") {
		t.Errorf("%s", c.err.String())
	}
}
