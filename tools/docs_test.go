package tools

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// property is what documentation says about one argument or field.
type property struct {
	Type        string
	Description string
	Default     any
	Enum        []any
	Minimum     json.Number
	Maximum     json.Number
	Items       *property
	Properties  json.RawMessage
	Additional  json.RawMessage `json:"additionalProperties"`
	Required    []string
}

// docs renders docs/tools.md.
func docs(t *testing.T, s surface) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Tools\n\nGenerated from the schemas by `go test ./tools -run TestSurface -update`; do not edit.\n\n")
	b.WriteString("| Tool | Does | Read-only | Destructive | Idempotent | Open world |\n|--|--|--|--|--|--|\n")
	for _, tool := range s.Tools {
		a := tool.Annotations
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s | %s | %s |\n", tool.Name, tool.Name, tool.Title,
			yes(*a.ReadOnlyHint), yes(*a.DestructiveHint), yes(*a.IdempotentHint), yes(*a.OpenWorldHint))
	}
	b.WriteString("\nA tool that fails says so in a result with `isError`, what failed, and the next step. No tool approves anything or widens a policy.\n")
	for _, tool := range s.Tools {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", tool.Name, tool.Description)
		b.WriteString("\n| Argument | Type | |\n|--|--|--|\n")
		rows(t, &b, "", tool.InputSchema)
		b.WriteString("\n| Result | Type | |\n|--|--|--|\n")
		rows(t, &b, "", tool.OutputSchema)
	}
	b.WriteString("\n## Resources\n\n| URI | Type | |\n|--|--|--|\n")
	for _, r := range s.Templates {
		fmt.Fprintf(&b, "| `%s` | %s | %s: %s |\n", r.URITemplate, r.MIMEType, r.Title, r.Description)
	}
	return b.String()
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// rows writes the properties of a schema and, indented by their path, those of
// objects and arrays of objects in it.
func rows(t *testing.T, b *strings.Builder, path string, schema json.RawMessage) {
	t.Helper()
	var root property
	if err := json.Unmarshal(schema, &root); err != nil {
		t.Fatal(err)
	}
	for _, name := range keysInOrder(t, root.Properties) {
		var all map[string]property
		if err := json.Unmarshal(root.Properties, &all); err != nil {
			t.Fatal(err)
		}
		p := all[name]
		needed := ""
		if path == "" && slices.Contains(root.Required, name) && string(root.Additional) == "false" {
			needed = ", required"
		}
		fmt.Fprintf(b, "| `%s%s` | %s%s | %s%s |\n", path, name, kindOf(p), needed, cell(p.Description), bounds(p))
		switch {
		case p.Properties != nil:
			rows(t, b, path+name+".", encode(t, map[string]any{"properties": p.Properties}))
		case p.Items != nil && p.Items.Properties != nil:
			rows(t, b, path+name+"[].", encode(t, map[string]any{"properties": p.Items.Properties}))
		}
	}
}

func encode(t *testing.T, v any) json.RawMessage {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// keysInOrder keeps the order of the Go structs: it is the order of importance.
func keysInOrder(t *testing.T, object json.RawMessage) []string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(string(object)))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, fmt.Sprint(key))
		var skipped json.RawMessage
		if err := dec.Decode(&skipped); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

func kindOf(p property) string {
	switch {
	case p.Type == "array" && p.Items != nil:
		return "array of " + p.Items.Type + "s"
	case p.Type == "object" && p.Properties == nil:
		return "object of strings"
	default:
		return p.Type
	}
}

func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }

func bounds(p property) string {
	var parts []string
	if len(p.Enum) > 0 {
		var words []string
		for _, w := range p.Enum {
			words = append(words, fmt.Sprintf("`%v`", w))
		}
		parts = append(parts, "one of "+strings.Join(words, " "))
	}
	if p.Minimum != "" && p.Maximum != "" {
		parts = append(parts, fmt.Sprintf("%s to %s", p.Minimum, p.Maximum))
	}
	if p.Default != nil && p.Default != false {
		parts = append(parts, fmt.Sprintf("default `%v`", p.Default))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}
