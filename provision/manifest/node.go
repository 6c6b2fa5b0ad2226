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

// parser reads one document and gathers its problems.
type parser struct {
	file     string
	problems Errors
}

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

func (a at) child(name string, n *yaml.Node) at {
	if a.key == "" {
		return at{name, n}
	}
	return at{a.key + "." + name, n}
}

func (a at) item(i int) at { return at{fmt.Sprintf("%s[%d]", a.key, i), a.node.Content[i]} }

// fail notes a problem. The YAML begins at the file's second line.
func (p *parser) fail(a at, problem, hint string) {
	if len(p.problems) > maxProblems {
		return
	}
	if len(p.problems) == maxProblems {
		problem, hint = "there are more problems from here on", "mend the first ones"
	}
	p.problems = append(p.problems, &Error{File: p.file, Line: a.node.Line + 1, Key: a.key, Problem: problem, Hint: hint})
}

// parse gives the document's mapping, or false when there is nothing to read.
func (p *parser) parse(front []byte) (at, bool) {
	if blank(front) {
		return at{}, false
	}
	var doc yaml.Node
	if err := yaml.Load(front, &doc); err != nil {
		p.problems = append(p.problems, p.syntax(err))
		return at{}, false
	}
	root := at{"", doc.Content[0]}
	p.checkTree(root, 0)
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
	problem := &Error{File: p.file, Line: 2, Problem: "the YAML is malformed: " + err.Error(), cause: err}
	var load *yaml.LoadError
	if errors.As(err, &load) {
		problem.Problem = "the YAML is malformed: " + strings.TrimPrefix(load.Message, "yaml: ")
		if load.Mark.Line > 0 {
			problem.Line = load.Mark.Line + 1
		}
	}
	return problem
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
	seen := map[string]int{}
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
		}
		seen[k.Value] = k.Line
		p.checkTree(child, depth+1)
	}
}

// keys says what a mapping may hold.
type keys struct {
	read    map[string]func(at)
	ignored []string          // accepted for other programs' sake
	later   map[string]string // bot-bottle's, not in this version: what it would do
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
			read(child)
			continue
		}
		if slices.Contains(k.ignored, name) {
			continue
		}
		if what, ok := k.later[name]; ok {
			p.fail(here, "it is not supported yet by this version ("+what+")", "remove the key; a bottle must not run with less than it asks for")
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

func (p *parser) unknown(a at, name string, k keys) {
	allowed := slices.Sorted(maps.Keys(k.read))
	allowed = append(allowed, k.ignored...)
	slices.Sort(allowed)
	hint := "allowed here: " + strings.Join(allowed, ", ")
	if near := nearest(name, allowed); near != "" {
		hint = fmt.Sprintf("did you mean %q? %s", near, hint)
	}
	p.fail(a, "the key is not known", hint)
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

// str reads a string that is not empty.
func (p *parser) str(a at) (string, bool) {
	if a.node.Kind != yaml.ScalarNode || a.node.ShortTag() != "!!str" {
		p.wrongType(a, "a string")
		return "", false
	}
	if a.node.Value == "" {
		p.fail(a, "it must not be empty", "")
		return "", false
	}
	return a.node.Value, true
}

// integer reads a plain decimal number within bounds.
func (p *parser) integer(a at, low, high int64) (int64, bool) {
	if a.node.Kind != yaml.ScalarNode || a.node.ShortTag() != "!!int" {
		p.wrongType(a, "a whole number")
		return 0, false
	}
	v := a.node.Value
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || (len(v) > 1 && v[0] == '0') || v[0] == '+' || n < low || n > high {
		p.fail(a, fmt.Sprintf("it must be a decimal number from %d to %d", low, high), "")
		return 0, false
	}
	return n, true
}

// list calls each for every item of a sequence.
func (p *parser) list(a at, most int, each func(at)) {
	if a.node.Kind != yaml.SequenceNode {
		p.wrongType(a, "a list")
		return
	}
	if len(a.node.Content) > most {
		p.fail(a, fmt.Sprintf("it has more than %d entries", most), "shorten it")
		return
	}
	for i := range a.node.Content {
		each(a.item(i))
	}
}

// nearest finds the allowed word that name is probably a slip for.
func nearest(name string, allowed []string) string {
	if len(name) > 64 {
		return ""
	}
	best, limit := "", min(3, len(name)/2+1)
	for _, word := range allowed {
		if d := distance(strings.ToLower(name), word); d < limit {
			best, limit = word, d
		}
	}
	return best
}

// distance is the edit distance of two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
