package main

import (
	"context"
	"encoding/json"
	"errors"
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
	for name, tt := range map[string]struct {
		o    runOptions
		args []string
		code int
	}{
		"command":            {args: []string{"true"}},
		"nothing":            {code: exitUsage},
		"only a plan":        {o: runOptions{dryRun: true}},
		"plan of a command":  {o: runOptions{dryRun: true, asJSON: true}, args: []string{"true"}},
		"JSON of a command":  {o: runOptions{asJSON: true}, args: []string{"true"}, code: exitUsage},
		"JSON of no command": {o: runOptions{asJSON: true}, code: exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tt.o.arguments(tt.args); exitCode(err) != tt.code {
				t.Errorf("%v, want code %d", err, tt.code)
			}
		})
	}
}
