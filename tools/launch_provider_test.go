package tools

import (
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
)

func TestProviderInWords(t *testing.T) {
	plan := &provision.Plan{ID: "x", Bottles: []string{"b"}, Provider: &provision.ProviderPlan{
		Provider: "mine", Login: "Bearer from $TOKEN to api.example.com", Replaces: []string{"api.example.com"}, Files: []string{"/home/agent/.mine"},
		TaskFile: "/home/agent/.bottle/task.md", Skills: []string{"review"},
		Headless: provider.Command{Argv: []string{"mine", "--print"}, Prompt: provider.PromptStdin},
	}}
	words := PlanText(plan)
	for _, want := range []string{
		"Agent: provider mine; login: Bearer from $TOKEN to api.example.com, a placeholder in the guest.\n",
		"The provider's routes replace the manifest's for api.example.com.\n",
		"Put into the guest: /home/agent/.mine, /home/agent/.bottle/task.md.\n", "Skills: review.\n",
	} {
		if !strings.Contains(words+"\n", want) {
			t.Errorf("%q is not in\n%s", want, words)
		}
	}
	var out text
	startProvider(&out, providerOf(plan.Provider))
	if want := `by exec with command ["mine","--print"] and the task on stdin.`; !strings.Contains(out.String(), want) {
		t.Errorf("got %q", out.String())
	}
	plan.Provider.Headless = provider.Command{Argv: []string{"mine"}, Prompt: provider.PromptArgument}
	startProvider(&out, providerOf(plan.Provider))
	if want := `["mine"] and "--" and the task as further arguments.`; !strings.Contains(out.String(), want) {
		t.Errorf("got %q", out.String())
	}
	if got := PlanText(&provision.Plan{ID: "x"}); strings.Contains(got, "Agent: provider") || providerOf(nil) != nil {
		t.Errorf("without a provider: %s", got)
	}
}
