package tools

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

const launchDescription = `Start a bottle: an isolated Linux machine for one task. Its only way out is an egress proxy that refuses every host the operator has not allowed.

Returns the bottle's id once its isolation has been proven from inside. Everything has a default: with no arguments you get an empty workspace and the operator's default policy. Arguments can only narrow that policy, never widen it. Give "id" to make a repeated call safe: the same id with the same arguments returns the bottle that runs. "dry_run" shows the plan and starts nothing.

Then: exec to run commands, cp to move files, cleanup when done.`

type launchInput struct {
	Agent      string            `json:"agent,omitempty" jsonschema:"maxLength=64,pattern=^[A-Za-z0-9_][A-Za-z0-9._-]*$" jsonschema_description:"Agent manifest to use"`
	Bottles    []string          `json:"bottles,omitempty" jsonschema:"maxItems=16,uniqueItems=true,minLength=1,maxLength=64,pattern=^[A-Za-z0-9_][A-Za-z0-9._-]*$" jsonschema_description:"Bottle manifest to use, such as [\"default\"]. More than one only where the operator allows merging. Default: the agent's, else default"`
	ID         string            `json:"id,omitempty" jsonschema:"minLength=1,maxLength=40,pattern=^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" jsonschema_description:"Id of your choice, makes the call repeatable; a bottle's gets an ending, so use the id of the result. Default: a new one"`
	Label      string            `json:"label,omitempty" jsonschema:"maxLength=120" jsonschema_description:"Short name for people, one line without slashes"`
	Workspace  string            `json:"workspace,omitempty" jsonschema:"maxLength=4095" jsonschema_description:"Host directory to copy into the bottle; inside the directories the operator allows, or of the calling bottle's own. Default: an empty workspace"`
	Prompt     string            `json:"prompt,omitempty" jsonschema:"maxLength=100000" jsonschema_description:"Task text for the agent inside"`
	Env        map[string]string `json:"env,omitempty" jsonschema_description:"Environment variables for everything in the bottle, no secrets"`
	TTLSeconds int               `json:"ttl_seconds,omitempty" jsonschema:"minimum=1,maximum=604800" jsonschema_description:"Remove the bottle after this time. Default: the manifest's"`
	OnlyHosts  []string          `json:"only_hosts,omitempty" jsonschema:"maxItems=256,uniqueItems=true,minLength=1,maxLength=260" jsonschema_description:"Keep only these of the allowed egress hosts; an empty list means no network at all"`
	Only       []onlyInput       `json:"only,omitempty" jsonschema:"maxItems=256" jsonschema_description:"Keep only these of the allowed hosts, and of each only some requests, such as [{\"host\":\"api.github.com\",\"paths\":[\"/repos/acme\"],\"methods\":[\"GET\"]}]"`
	Limits     *limitsInput      `json:"limits,omitempty" jsonschema_description:"Lower the bottle's resource limits"`
	Backend    string            `json:"backend,omitempty" jsonschema:"maxLength=40,pattern=^[a-z0-9][a-z0-9-]*$" jsonschema_description:"Engine, where the operator leaves the choice. Default: this host's"`
	DryRun     bool              `json:"dry_run,omitempty" jsonschema:"default=false" jsonschema_description:"Return the plan and start nothing"`
}

type onlyInput struct {
	Host    string   `json:"host" jsonschema:"minLength=1,maxLength=260" jsonschema_description:"Host as in the policy, or one below a wildcard of it"`
	Paths   []string `json:"paths,omitempty" jsonschema:"minItems=1,maxItems=64,minLength=1,maxLength=1024" jsonschema_description:"Paths to keep, each with everything below it. Default: all that are allowed"`
	Methods []string `json:"methods,omitempty" jsonschema:"minItems=1,maxItems=32,minLength=1,maxLength=32" jsonschema_description:"Methods to keep, such as GET. Default: all that are allowed"`
}

type limitsInput struct {
	CPUs     float64 `json:"cpus,omitempty" jsonschema:"minimum=0.01,maximum=1024" jsonschema_description:"CPUs, fractions allowed"`
	MemoryMB int64   `json:"memory_mb,omitempty" jsonschema:"minimum=16,maximum=1048576" jsonschema_description:"Memory in MiB"`
	DiskMB   int64   `json:"disk_mb,omitempty" jsonschema:"minimum=1,maximum=16777216" jsonschema_description:"Writable disk in MiB"`
	PIDs     int     `json:"pids,omitempty" jsonschema:"minimum=8,maximum=1000000" jsonschema_description:"Processes and threads"`
}

func (t *toolset) launchTool() (Tool, error) {
	return define[launchInput, launchOutput](t, definition{
		name: "launch", title: "Launch a bottle", description: launchDescription,
		openWorld: true,
	}, t.launch)
}

func (t *toolset) launch(ctx context.Context, req *request, in launchInput) (*reply, error) {
	ask, err := in.request(req.Principal)
	if err != nil {
		return nil, err
	}
	plan, err := t.bottles.Plan(ctx, ask)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return planned(plan), nil
	}
	b, err := t.bottles.Launch(ctx, plan, req.progress.step)
	if err != nil {
		return nil, err
	}
	return t.launched(b), nil
}

// request checks the arguments and says them in provision's words.
func (in launchInput) request(who provision.Principal) (provision.LaunchRequest, error) {
	c := &checks{}
	c.name("agent", in.Agent)
	for _, name := range in.Bottles {
		if name == "" {
			c.fail("bottles", "must not hold an empty name")
		}
		c.name("bottles", name)
	}
	if in.ID != "" {
		c.id("id", in.ID)
	}
	c.label("label", in.Label)
	c.pathText("workspace", in.Workspace)
	if strings.ContainsRune(in.Prompt, 0) || !utf8.ValidString(in.Prompt) {
		c.fail("prompt", "must be UTF-8 without NUL")
	}
	c.env("env", in.Env)
	c.between("ttl_seconds", in.TTLSeconds, 1, 604800)
	for _, host := range in.OnlyHosts {
		c.host("only_hosts", host)
	}
	return provision.LaunchRequest{
		Agent:     in.Agent,
		Bottles:   in.Bottles,
		ID:        backend.ID(in.ID),
		Label:     in.Label,
		Workspace: in.Workspace,
		Prompt:    in.Prompt,
		Env:       in.Env,
		TTL:       time.Duration(in.TTLSeconds) * time.Second,
		Backend:   in.Backend,
		OnlyHosts: slices.Clone(in.OnlyHosts), // an empty list stays an empty list: no egress
		Only:      onlyRules(c, in.Only),
		Limits:    in.Limits.limits(c),
		Principal: who,
	}, c.err()
}

// onlyRules says them in provision's words; none is not the same as an empty list.
func onlyRules(c *checks, in []onlyInput) []provision.OnlyRule {
	if in == nil {
		return nil
	}
	out := make([]provision.OnlyRule, len(in))
	for i, o := range in {
		at := fmt.Sprintf("only[%d]", i)
		c.host(at+".host", o.Host)
		for _, path := range o.Paths {
			if !strings.HasPrefix(path, "/") || len(path) > 1024 {
				c.fail(at+".paths", "must hold paths that begin with '/', such as %q, not %.80q", "/v1", path)
			}
		}
		out[i] = provision.OnlyRule(o)
	}
	return out
}

// limits says them in the backend's units.
func (in *limitsInput) limits(c *checks) backend.Limits {
	if in == nil {
		return backend.Limits{}
	}
	if in.CPUs < 0 || in.CPUs > 1024 {
		c.fail("limits.cpus", "must be from 0.01 to 1024, not %v", in.CPUs)
	}
	if in.MemoryMB < 0 || in.MemoryMB > 1<<20 {
		c.fail("limits.memory_mb", "must be from 16 to 1048576, not %d", in.MemoryMB)
	}
	if in.DiskMB < 0 || in.DiskMB > 1<<24 {
		c.fail("limits.disk_mb", "must be from 1 to 16777216, not %d", in.DiskMB)
	}
	c.between("limits.pids", in.PIDs, 8, 1000000)
	return backend.Limits{CPUs: in.CPUs, MemoryBytes: in.MemoryMB << 20, DiskBytes: in.DiskMB << 20, PIDs: in.PIDs}
}
