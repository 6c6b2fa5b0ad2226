package schema

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	described "github.com/invopop/jsonschema"
)

// TestReferenceIsCurrent holds the tables of docs/manifests.md, which stand
// between two comments, against the types.
func TestReferenceIsCurrent(t *testing.T) {
	page := filepath.Join(docs, "manifests.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range Kinds() {
		one := map[string]string{"bottle": "a bottle", "agent": "an agent"}[kind]
		begin, end := "<!-- keys of "+one+", generated -->\n", "<!-- end of the keys of "+one+" -->\n"
		before, rest, found := bytes.Cut(text, []byte(begin))
		_, after, closed := bytes.Cut(rest, []byte(end))
		if !found || !closed {
			t.Fatalf("%s has no place for the keys of %s", page, one)
		}
		text = slices.Concat(before, []byte(begin), table(kind), []byte(end), after)
	}
	current(t, page, text)
}

// table lists every key of a kind with its path.
func table(kind string) []byte {
	var b bytes.Buffer
	b.WriteString("\n| Key | Value | |\n|--|--|--|\n")
	rows(&b, "", reflected(kind))
	b.WriteString("\n")
	return b.Bytes()
}

func rows(b *bytes.Buffer, path string, s *described.Schema) {
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		p := pair.Value
		words := p.Description
		if slices.Contains(s.Required, pair.Key) {
			words += ". **Required**"
		}
		fmt.Fprintf(b, "| `%s%s` | %s | %s |\n", path, pair.Key, valueOf(p), strings.ReplaceAll(words, "|", `\|`))
		switch {
		case p.Properties != nil && p.Properties.Len() > 0:
			rows(b, path+pair.Key+".", p)
		case p.Items != nil && p.Items.Properties != nil:
			rows(b, path+pair.Key+"[].", p.Items)
		case p.AdditionalProperties != nil && p.AdditionalProperties.Properties != nil:
			rows(b, path+pair.Key+".NAME.", p.AdditionalProperties)
		}
	}
}

// valueOf says in words what a key takes.
func valueOf(p *described.Schema) string {
	switch {
	case p.Title != "":
		return p.Title
	case len(p.OneOf) > 0:
		var parts []string
		for _, one := range p.OneOf {
			parts = append(parts, valueOf(one))
		}
		return strings.Join(parts, ", or ")
	case len(p.Enum) > 0:
		var words []string
		for _, w := range p.Enum {
			words = append(words, fmt.Sprintf("`%v`", w))
		}
		return strings.Join(words, " ")
	case p.Items != nil && p.Items.Title == "" && p.Items.Properties != nil:
		return "list"
	case p.Items != nil:
		return "list of " + plural(valueOf(p.Items))
	case p.Minimum != "":
		return fmt.Sprintf("%s, %s to %s", p.Type, p.Minimum, p.Maximum)
	case p.Type == "object" && p.AdditionalProperties != nil && p.AdditionalProperties.Properties != nil:
		return "block by name"
	case p.Type == "object":
		return "block"
	case p.Type == "":
		return "anything"
	default:
		return p.Type
	}
}

func plural(word string) string {
	switch {
	case strings.HasPrefix(word, "`"):
		return word
	case word == "address or prefix":
		return "addresses and prefixes"
	case word == "name of a skill":
		return "names of skills"
	default:
		return word + "s"
	}
}
