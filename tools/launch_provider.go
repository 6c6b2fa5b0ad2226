package tools

import (
	"encoding/json"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
)

type providerOutput struct {
	Name        string        `json:"name" jsonschema_description:"Provider of the agent"`
	Login       string        `json:"login,omitempty" jsonschema_description:"Credential that the proxy adds and for which host, never its value; the guest holds a placeholder"`
	Replaces    []string      `json:"replaces" jsonschema_description:"Hosts whose routes in the manifest the provider's replace"`
	EnvNames    []string      `json:"env_names" jsonschema_description:"Variables that the provider sets"`
	Files       []string      `json:"files" jsonschema_description:"Files that the provider puts into the guest"`
	PromptFile  string        `json:"prompt_file,omitempty" jsonschema_description:"Where the agent's system prompt is in the guest"`
	TaskFile    string        `json:"task_file,omitempty" jsonschema_description:"Where the prompt of the launch is in the guest"`
	Skills      []string      `json:"skills" jsonschema_description:"Skills that are copied in"`
	Interactive commandOutput `json:"interactive" jsonschema_description:"Starts the agent for a person"`
	Headless    commandOutput `json:"headless" jsonschema_description:"Runs the agent on one task"`
}

type commandOutput struct {
	Command []string `json:"command" jsonschema_description:"Program and arguments; empty means that there is no such command"`
	Prompt  string   `json:"prompt" jsonschema_description:"How it gets the task: stdin, argument (as the last one, after --) or none"`
}

// providerOf shows how the agent is set up; nil = not by a provider.
func providerOf(p *provision.ProviderPlan) *providerOutput {
	if p == nil {
		return nil
	}
	command := func(c provider.Command) commandOutput {
		return commandOutput{Command: list(c.Argv), Prompt: string(c.Prompt)}
	}
	return &providerOutput{
		Name: p.Provider, Login: cleanLine(p.Login, 400), Replaces: list(p.Replaces), EnvNames: list(p.EnvNames), Files: list(p.Files),
		PromptFile: p.PromptFile, TaskFile: p.TaskFile, Skills: list(p.Skills),
		Interactive: command(p.Interactive), Headless: command(p.Headless),
	}
}

// planProvider says in words what is put where.
func planProvider(t *text, p *providerOutput) {
	if p == nil {
		return
	}
	login := "no login"
	if p.Login != "" {
		login = "login: " + p.Login + ", a placeholder in the guest"
	}
	t.line("Agent: provider %s; %s.", p.Name, login)
	if len(p.Replaces) > 0 {
		t.line("The provider's routes replace the manifest's for %s.", strings.Join(p.Replaces, ", "))
	}
	if files := append(list(p.Files), p.PromptFile, p.TaskFile); len(files) > 0 {
		t.line("Put into the guest: %s.", strings.Join(present(files), ", "))
	}
	if len(p.Skills) > 0 {
		t.line("Skills: %s.", strings.Join(p.Skills, ", "))
	}
}

// present leaves empty words out.
func present(words []string) []string {
	out := []string{}
	for _, w := range words {
		if w != "" {
			out = append(out, w)
		}
	}
	return out
}

// startProvider says how the agent is set to work.
func startProvider(t *text, p *providerOutput) {
	if p == nil || len(p.Headless.Command) == 0 {
		return
	}
	argv, err := json.Marshal(p.Headless.Command)
	if err != nil {
		return
	}
	how := "the task on stdin"
	if p.Headless.Prompt == string(provider.PromptArgument) {
		how = `"--" and the task as further arguments`
	}
	t.line("The agent of provider %s runs headless by exec with command %s and %s.", p.Name, argv, how)
}
