package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestPreflight(t *testing.T) {
	f := newFake("launch")
	c := newFakeCLI(t, f)
	if err := c.run(context.Background(), runOptions{dryRun: true, bottles: []string{"npm"}}, []string{"npm", "ci"}); err != nil {
		t.Fatal(err)
	}
	if f.request.Label != "run npm" || f.request.Bottles[0] != "npm" || len(f.bottles) != 0 {
		t.Errorf("asked for %+v, %d bottles", f.request, len(f.bottles))
	}
	text := c.out.String()
	if !strings.HasPrefix(text, "Plan for bottle fake-1; nothing was started.\n") || !strings.Contains(text, "no host can be reached") {
		t.Errorf("stdout:\n%s", text)
	}
}

func TestPreflightJSON(t *testing.T) {
	c := newFakeCLI(t, newFake("launch"))
	if err := c.run(context.Background(), runOptions{dryRun: true, asJSON: true}, nil); err != nil {
		t.Fatal(err)
	}
	var got struct {
		ID     string `json:"id"`
		State  string `json:"state"`
		DryRun bool   `json:"dry_run"`
	}
	if err := json.Unmarshal(c.out.Bytes(), &got); err != nil || got.ID != "fake-1" || got.State != "planned" || !got.DryRun {
		t.Errorf("%v: %s", err, c.out.String())
	}
}

func TestPreflightOfABadPlan(t *testing.T) {
	f := newFake()
	f.err = errors.New("no such bottle")
	c := newFakeCLI(t, f)
	if err := c.run(context.Background(), runOptions{dryRun: true}, nil); exitCode(err) != exitNoBottle {
		t.Errorf("%v, want the code of a failed launch", err)
	}
	if c.out.Len() > 0 {
		t.Errorf("stdout: %s", c.out.String())
	}
}

func TestRunArguments(t *testing.T) {
	const none = -1
	for name, tt := range map[string]struct {
		o      runOptions
		args   []string
		dash   int
		code   int
		agent  string
		attach bool
		argv   []string
	}{
		"command":                 {args: []string{"true", "x"}, argv: []string{"true", "x"}},
		"nothing":                 {dash: none, code: exitUsage},
		"nothing behind dashes":   {code: exitUsage},
		"only a plan":             {o: runOptions{dryRun: true}, dash: none},
		"plan of a command":       {o: runOptions{dryRun: true, asJSON: true}, args: []string{"true"}, argv: []string{"true"}},
		"JSON of a command":       {o: runOptions{asJSON: true}, args: []string{"true"}, code: exitUsage},
		"JSON of no command":      {o: runOptions{asJSON: true}, dash: none, code: exitUsage},
		"agent":                   {args: []string{"web"}, dash: none, agent: "web", attach: true},
		"agent and arguments":     {args: []string{"web", "--model", "m"}, dash: 1, agent: "web", attach: true, argv: []string{"--model", "m"}},
		"agent by its flag":       {o: runOptions{agent: "web"}, dash: none, agent: "web", attach: true},
		"command for an agent":    {o: runOptions{agent: "web"}, args: []string{"ls"}, agent: "web", argv: []string{"ls"}},
		"agent twice":             {o: runOptions{agent: "web"}, args: []string{"web"}, dash: none, code: exitUsage},
		"two agents":              {args: []string{"web", "other"}, dash: none, code: exitUsage},
		"command without dashes":  {args: []string{"./run.sh"}, dash: none, code: exitUsage},
		"headless":                {o: runOptions{headless: true, prompt: "p"}, args: []string{"web"}, dash: none, agent: "web", attach: true},
		"headless on stdin":       {o: runOptions{headless: true, prompt: "-"}, args: []string{"web"}, dash: none, agent: "web", attach: true},
		"headless without a task": {o: runOptions{headless: true}, args: []string{"web"}, dash: none, code: exitUsage},
		"headless command":        {o: runOptions{headless: true, prompt: "p"}, args: []string{"ls"}, code: exitUsage},
		"headless on a terminal":  {o: runOptions{headless: true, prompt: "p", tty: true}, args: []string{"web"}, dash: none, code: exitUsage},
		"task on stdin, attached": {o: runOptions{prompt: "-"}, args: []string{"web"}, dash: none, code: exitUsage},
		"two workspaces":          {o: runOptions{cwd: true, workspace: "x"}, args: []string{"web"}, dash: none, code: exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.o.arguments(tt.args, tt.dash)
			if exitCode(err) != tt.code {
				t.Errorf("%v, want code %d", err, tt.code)
			}
			if err == nil && (tt.o.agent != tt.agent || tt.o.attach != tt.attach || !slices.Equal(tt.o.argv, tt.argv)) {
				t.Errorf("agent %q, attached: %v, behind the dashes: %q", tt.o.agent, tt.o.attach, tt.o.argv)
			}
		})
	}
}
