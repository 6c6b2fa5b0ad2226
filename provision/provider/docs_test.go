package provider

import (
	"os"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// TestDocumentation reads the example of docs/providers.md as a provider, and has
// it name every key there is.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "## One of your own")
	_, rest, _ = strings.Cut(rest, "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("there is no example")
	}
	p, err := Parse("own", "docs/providers.md", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Resolve(p, Settings{AuthToken: "X", SuperviseURL: "http://127.0.0.1:9100/mcp"}); err != nil {
		t.Error(err)
	}
	for key := range (&Provider{}).keys() {
		if !strings.Contains(example, "\n"+key+":") && !strings.Contains(example, key+": NAME") && !strings.HasPrefix(example, key+":") {
			t.Errorf("the example lacks %q", key)
		}
	}
	for _, name := range BuiltIn() {
		if !strings.Contains(string(page), "| `"+name+"` |") {
			t.Errorf("the page lacks %q", name)
		}
	}
	if manifest.LooksSecret(example) {
		t.Error("the example holds what looks like a credential")
	}
}
