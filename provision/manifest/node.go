package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

const (
	// maxDepth is deeper than any key of ours.
	maxDepth = 16
	// maxProblems is more than anybody mends in one go.
	maxProblems = 50
)

// parser reads one document, gathers its problems and notes where its keys
// stand.
type parser struct {
	file     string
	origins  Origins
	problems Errors
}

func newParser(file string) *parser { return &parser{file: file, origins: Origins{}} }

// result returns what was gathered as an error, or nil.
func (p *parser) result() error {
	if len(p.problems) == 0 {
		return nil
	}
	return p.problems
}

// at is a value and the path of its key.
type at struct {
	key  string
	node *yaml.Node
}

// child is the value of a key. A name that could be taken for a path is quoted.
func (a at) child(name string, n *yaml.Node) at {
	if name == "" || strings.ContainsAny(name, `.[]" `) {
		name = strconv.Quote(name)
	}
	if a.key == "" {
		return at{name, n}
	}
	return at{a.key + "." + name, n}
}

func (a at) item(i int) at { return at{a.key + "[" + strconv.Itoa(i) + "]", a.node.Content[i]} }

// line is the value's line in the file, whose second the YAML begins at.
func (a at) line() int { return a.node.Line + 1 }

// fail notes a problem. What may be a credential is not repeated; a hint never
// repeats the file.
func (p *parser) fail(a at, problem, hint string) {
	if len(p.problems) > maxProblems {
		return
	}
	if len(p.problems) == maxProblems {
		problem, hint = "there are more problems from here on", "mend the first ones"
	}
	p.problems = append(p.problems, &Error{File: p.file, Line: a.line(), Key: shortKey(a.key), Problem: masked(problem), Hint: hint})
}

// clean reports whether read noted no problem.
func (p *parser) clean(read func() bool) bool {
	before := len(p.problems)
	return read() && len(p.problems) == before
}

// parse gives the document's mapping, or false when there is nothing to read.
func (p *parser) parse(front []byte) (at, bool) {
	if blank(front) {
		return at{}, false
	}
	var doc yaml.Node
	if err := load(front, &doc); err != nil {
		p.problems = append(p.problems, p.syntax(err))
		return at{}, false
	}
	root := at{"", doc.Content[0]}
	if !plain(root.node, 0) {
		p.checkTree(root, 0)
	}
	if len(p.problems) > 0 {
		return at{}, false
	}
	if root.node.Kind != yaml.MappingNode {
		p.fail(root, "the front matter must be a mapping of keys to values", `write "key: value" lines`)
		return at{}, false
	}
	return root, true
}

// blank reports whether the front matter holds nothing but comments.
func blank(front []byte) bool {
	for line := range strings.Lines(string(front)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return false
		}
	}
	return true
}

func (p *parser) syntax(err error) *Error {
	line, text := 2, err.Error()
	var load *yaml.LoadError
	if errors.As(err, &load) {
		text = strings.TrimPrefix(load.Message, "yaml: ")
		if load.Mark.Line > 0 {
			line = load.Mark.Line + 1
		}
	}
	// The library's error is not wrapped: it may repeat the text of the file.
	return &Error{File: p.file, Line: line, Problem: "the YAML is malformed: " + masked(text), Hint: syntaxHint(text)}
}

func syntaxHint(text string) string {
	switch {
	case strings.Contains(text, "multiple"):
		return `there is one document between the first "---" and the next`
	case strings.Contains(text, "max depth"):
		return "no key is nested that deep"
	default:
		return `indent with spaces, write "key: value", and put text with ':', '#' or '*' in quotes`
	}
}

// plain reports that checkTree would find nothing, without making a single path:
// nearly every file is.
func plain(n *yaml.Node, depth int) bool {
	if depth > maxDepth || n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 || n.Tag == "!" || strings.IndexByte(n.Value, 0) >= 0 {
		return false
	}
	for i, child := range n.Content {
		if !plain(child, depth+1) {
			return false
		}
		if n.Kind != yaml.MappingNode || i%2 == 1 {
			continue
		}
		if child.Kind != yaml.ScalarNode || child.ShortTag() != "!!str" || i > 64 {
			return false // a long mapping is cheaper to check with a table
		}
		for j := 0; j < i; j += 2 {
			if n.Content[j].Value == child.Value {
				return false
			}
		}
	}
	return true
}

// checkTree refuses the parts of YAML that make a file mean something else
// than it seems to say.
func (p *parser) checkTree(a at, depth int) {
	n := a.node
	switch {
	case depth > maxDepth:
		p.fail(a, fmt.Sprintf("it is nested deeper than %d levels", maxDepth), "")
		return
	case n.Kind == yaml.AliasNode:
		p.fail(a, "YAML aliases (*name) are not accepted", "write the value out")
		return
	case n.Anchor != "":
		p.fail(a, "YAML anchors (&name) are not accepted", "write the value out where it is used")
	case n.Style&yaml.TaggedStyle != 0 || n.Tag == "!":
		p.fail(a, "YAML tags (!name) are not accepted", "put the value in quotes when it must be a string")
	case strings.ContainsRune(n.Value, 0):
		p.fail(a, "the value holds a NUL character", "remove it")
	}
	switch n.Kind {
	case yaml.MappingNode:
		p.checkKeys(a, depth)
	case yaml.SequenceNode:
		for i := range n.Content {
			p.checkTree(a.item(i), depth+1)
		}
	}
}

func (p *parser) checkKeys(a at, depth int) {
	seen := make(map[string]int, len(a.node.Content)/2)
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		k, v := a.node.Content[i], a.node.Content[i+1]
		name := at{a.key, k}
		if k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str" {
			p.fail(name, fmt.Sprintf("the key %.40q is not a plain name", k.Value), "write the key as a string")
			continue
		}
		p.checkTree(name, depth+1)
		child := a.child(k.Value, v)
		if first, twice := seen[k.Value]; twice {
			p.fail(at{child.key, k}, fmt.Sprintf("the key stands twice, first in line %d", first+1), "remove one of the two")
		} else {
			seen[k.Value] = k.Line
		}
		p.checkTree(child, depth+1)
	}
}

// keys says what a mapping may hold.
type keys struct {
	read    map[string]func(at)
	ignored []string          // accepted for other programs' sake
	refused map[string]string // known and never accepted: what to do instead
	removed map[string]string // gone from the format: what replaces it
}

// mapping reads a mapping by its keys. It reports false when a is none.
func (p *parser) mapping(a at, k keys) bool {
	if a.node.Kind != yaml.MappingNode {
		p.wrongType(a, "a mapping of keys to values")
		return false
	}
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		name := a.node.Content[i].Value
		child := a.child(name, a.node.Content[i+1])
		here := at{child.key, a.node.Content[i]}
		if read, ok := k.read[name]; ok {
			p.note(here)
			read(child)
			continue
		}
		if slices.Contains(k.ignored, name) {
			continue
		}
		if instead, ok := k.refused[name]; ok {
			p.fail(here, "this key is not accepted here", instead)
			continue
		}
		if instead, ok := k.removed[name]; ok {
			p.fail(here, "this key was removed from the format", "use "+instead+" instead")
			continue
		}
		p.unknown(here, name, k)
	}
	return true
}

// note keeps where a key stands.
func (p *parser) note(key at) { p.origins[key.key] = Origin{File: p.file, Line: key.line()} }

// named calls each for every entry of a mapping whose keys are names that the
// author chose.
func (p *parser) named(a at, most int, want string, each func(name, value at)) {
	if a.node.Kind != yaml.MappingNode {
		p.wrongType(a, want)
		return
	}
	if n := len(a.node.Content) / 2; n > most {
		p.fail(a, fmt.Sprintf("it has %d entries; at most %d are accepted", n, most), "shorten it")
		return
	}
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		value := a.child(a.node.Content[i].Value, a.node.Content[i+1])
		name := at{value.key, a.node.Content[i]}
		p.note(name)
		each(name, value)
	}
}

func (p *parser) unknown(a at, name string, k keys) {
	allowed := slices.Sorted(maps.Keys(k.read))
	allowed = append(allowed, k.ignored...)
	slices.Sort(allowed)
	p.fail(a, "the key is not known", suggestion(name, allowed)+"allowed here: "+strings.Join(allowed, ", "))
}

func (p *parser) wrongType(a at, want string) {
	got := map[string]string{
		"!!str": "a string", "!!int": "a number", "!!float": "a number", "!!bool": "true or false",
		"!!null": "nothing", "!!seq": "a list", "!!map": "a mapping", "!!timestamp": "a date",
	}[a.node.ShortTag()]
	if got == "" {
		got = a.node.ShortTag()
	}
	hint := ""
	if strings.HasPrefix(want, "a string") && a.node.Kind == yaml.ScalarNode && a.node.ShortTag() != "!!null" {
		hint = "put it in quotes"
	}
	p.fail(a, "it must be "+want+", but it is "+got, hint)
}
