package manifest

import (
	"bytes"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// bareQuestion is a line such as "  TICKET: ? which one", which is no YAML: there
// a question mark and a blank begin a key. bot-bottle, with a parser of its own,
// takes it for what it looks like.
var bareQuestion = regexp.MustCompile(`^( +[A-Za-z_][A-Za-z0-9_]*: +)(\?(?: .*?)?)( +#.*)?\r?$`)

// load reads front matter. Questions without quotes are read as bot-bottle's
// files have them, and only where the text is no YAML otherwise: nothing that
// YAML understands is changed.
func load(front []byte, doc *yaml.Node) error {
	err := yaml.Load(front, doc)
	if err == nil {
		return nil
	}
	quoted, found := quoteQuestions(front)
	if !found {
		return err
	}
	var again yaml.Node
	if yaml.Load(quoted, &again) != nil {
		return err
	}
	*doc = again
	return nil
}

// quoteQuestions puts bare questions in quotes. Lines stay where they are.
func quoteQuestions(front []byte) (quoted []byte, found bool) {
	lines := bytes.Split(front, []byte("\n"))
	for i, line := range lines {
		m := bareQuestion.FindSubmatch(line)
		if m == nil {
			continue
		}
		found = true
		text := strings.TrimRight(string(m[2]), " ")
		lines[i] = []byte(string(m[1]) + "'" + strings.ReplaceAll(text, "'", "''") + "'" + string(m[3]))
	}
	return bytes.Join(lines, []byte("\n")), found
}
